"""Containers without Kubernetes: an engine of the run's own, and the images that the cluster's tests use too."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator

import pytest
from cluster_access import CHECKOUT, OPERATOR, Access

LACKING = 3
"""Exit code of cluster/*.sh where the machine lacks something, which they have then named."""


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start a container engine, and return what to set to reach it: DOCKER_HOST, and COMPOSE, the program."""
    script = [CHECKOUT / "cluster/containers.sh", tmp_path_factory.mktemp("containers")]
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():  # compiling Compose takes minutes: let it be seen
        process = subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        said = list(itertools.takewhile(lambda line: line != "ready\n", process.stdout))
    with process:
        if len(said) < 2 and process.wait() == LACKING and not os.environ.get("CI"):
            pytest.skip("no container engine")
        assert len(said) == 2, said
        yield dict(line.rstrip("\n").split("=", 1) for line in said)
        process.communicate(timeout=60)  # the end of its standard input is the end of the engine


@pytest.fixture(scope="session")
def images() -> Access:
    """Build images, for the engine and not for a cluster."""
    name = os.environ.get("LOCKGATE_IMAGE", OPERATOR)
    return Access({"LOCKGATE_IMAGES": str(CHECKOUT / "cluster/images.sh"), "LOCKGATE_IMAGE": name})
