"""Rendering the chart with the Helm binaries that are there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "lockgate"
POLICIES_OFFERED = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"

Objects = dict[tuple[str, str], dict[str, Any]]
"""What a rendering contains, by kind and name."""


def _helm_binaries() -> list[str]:
    if named := os.environ.get("LOCKGATE_HELM"):
        return [named]
    built = [ROOT / "build" / "tools" / name for name in ("helm3", "helm4")]
    found = [str(path) for path in built if path.exists()]
    if not found and (installed := shutil.which("helm")):
        found = [installed]
    return found


HELM = _helm_binaries()


@pytest.fixture(params=HELM or [None], ids=lambda path: Path(path).name if path else "missing")
def helm(request: pytest.FixtureRequest) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that calls Helm; each Helm that is there has its turn."""
    binary: str | None = request.param
    if binary is None:
        missing = "no Helm: `make tools` makes one, LOCKGATE_HELM names one"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([binary, *arguments], capture_output=True, text=True, check=False, timeout=60)

    return call


@pytest.fixture
def render(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Objects]:
    """Return a function that renders the chart with `--set` values, as for a cluster that offers policies or not."""

    def run(*values: str, policies: bool = True, release: str = "lockgate") -> Objects:
        arguments = ["template", release, str(CHART), "--namespace", "lockgate-system", "--kube-version", "1.37.1"]
        if policies:
            arguments += ["--api-versions", POLICIES_OFFERED]
        for value in values:
            arguments += ["--set", value]
        done = helm(*arguments)
        assert done.returncode == 0, done.stderr
        objects = [body for body in yaml.safe_load_all(done.stdout) if body]
        by_name: Objects = {(body["kind"], body["metadata"]["name"]): body for body in objects}
        assert len(by_name) == len(objects), "two objects of one kind and name"
        return by_name

    return run


@pytest.fixture
def refusal(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """Return a function that renders with values that must be refused, and returns what Helm says."""

    def run(*values: str) -> str:
        sets = [argument for value in values for argument in ("--set", value)]
        done = helm("template", "lockgate", str(CHART), "--kube-version", "1.37.1", *sets)
        assert done.returncode != 0
        return done.stderr

    return run
