"""The real cluster as a user reaches it: kubectl, Helm, images. Everything here is a process or a value."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

CHECKOUT = Path(__file__).parent.parent.parent
T = TypeVar("T")

OPERATOR = "localhost/lockgate:dev"
"""This project's own image, where LOCKGATE_IMAGE does not name another."""

IMAGES: dict[str, tuple[str, ...]] = {
    **{f"localhost/shop:{n}": ("examples/shop", "--build-arg", f"VERSION={n}") for n in range(1, 5)},
    **{
        f"localhost/shop-with-lockgate:{n}": (
            *("examples/with-lockgate", "--build-arg", f"APPLICATION=localhost/shop:{n}"),
            *("--build-arg", f"LOCKGATE={OPERATOR}"),
        )
        for n in range(1, 5)
    },
    "localhost/postgres:lockgate": ("tests/images/postgres",),
    "localhost/mlflow:3.17.2": ("tests/images/mlflow",),
    "localhost/without-alembic:1": ("tests/images/without-alembic",),
    "localhost/without-python:1": ("tests/images/without-python",),
}
"""What `cluster/images.sh build` is called with, beside the operator's own image."""


def eventually(assertion: Callable[[], T], timeout: float = 120.0) -> T:
    """Call ``assertion`` until it holds, and return what it returns; its error counts after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return assertion()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.3)


@dataclass(frozen=True)
class Access:
    """The settings that `cluster/cluster.sh up` leaves in build/cluster/env."""

    settings: dict[str, str]
    loaded: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Access:
        """Read the file: one shell-quoted NAME=value a line."""
        pairs = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
        return cls({name: "".join(shlex.split(value)) for name, value in pairs})

    @property
    def kubeconfig(self) -> Path:
        return Path(self.settings["KUBECONFIG"])

    def kubectl(
        self, *args: str, stdin: str | None = None, check: bool = True, timeout: float = 400
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl. With ``check``, an exit code that is not 0 is an AssertionError with what it said."""
        return self.run(*self.command(*args), stdin=stdin, check=check, timeout=timeout)

    def command(self, *args: str) -> tuple[str, ...]:
        """Return kubectl's command line for these arguments."""
        return (self.settings["KUBECTL"], "--kubeconfig", str(self.kubeconfig), *args)

    def helm(self, *args: str, major: int = 4, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Helm of this major version."""
        return self.run(self.settings[f"HELM{major}"], *args, check=check)

    def run(
        self, *command: str, stdin: str | None = None, check: bool = True, timeout: float = 400
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            env={"KUBECONFIG": str(self.kubeconfig), "PATH": "/usr/bin:/bin", "HOME": "/tmp"},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        shown = shlex.join([Path(command[0]).name, *command[1:]])
        assert not check or done.returncode == 0, f"{shown}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def image(self, name: str) -> str:
        """Build an image if need be, load it into the cluster, and return the reference to use in a manifest."""
        if name not in self.loaded:
            self.build(name)
            script = self.settings["LOCKGATE_IMAGES"]
            done = subprocess.run([script, "load", name], check=True, stdout=subprocess.PIPE, text=True)
            self.loaded[name] = done.stdout.strip()
        return self.loaded[name]

    def build(self, name: str) -> None:
        """Build an image if need be, and those that it is made of."""
        operator = self.settings["LOCKGATE_IMAGE"]
        arguments = () if name == operator else tuple(word.replace(OPERATOR, operator) for word in IMAGES[name])
        for word in arguments:
            _, _, base = word.partition("=localhost/")
            if base:
                self.build(f"localhost/{base}")
        command = ("build", name, *arguments) if arguments else ("operator",)
        subprocess.run([self.settings["LOCKGATE_IMAGES"], *command], cwd=CHECKOUT, check=True, stdin=subprocess.DEVNULL)


@dataclass(frozen=True)
class Namespace:
    """One namespace, as a test works in it."""

    access: Access
    name: str

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl in this namespace."""
        return self.access.kubectl("-n", self.name, *args, stdin=stdin, check=check)

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Apply manifests in the order given, as one file would be."""
        self.kubectl("apply", "-f", "-", stdin="\n---\n".join(json.dumps(manifest) for manifest in manifests))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return one object."""
        return json.loads(self.kubectl("get", kind, name, "-o", "json").stdout)

    def list(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """Return all objects of a kind, or those with these labels."""
        return json.loads(self.kubectl("get", kind, "-l", selector, "-o", "json").stdout)["items"]

    def condition(self, resource: str, kind: str) -> dict[str, Any]:
        """Return a condition of a DatabaseMigration; fails while there is none for its current generation."""
        found = self.get("dbm", resource)
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"], found["status"]
        return next(c for c in found["status"]["conditions"] if c["type"] == kind)

    def everything(self) -> str:
        """Return what a person could read about this namespace: objects, events and logs."""
        kinds = "databasemigrations,jobs,pods,events"
        said = [self.kubectl("get", kinds, "-o", "yaml", check=False).stdout]
        said += [
            self.kubectl("logs", pod["metadata"]["name"], "--all-containers", "--ignore-errors", check=False).stdout
            for pod in self.list("pods")
        ]
        return "\n".join(said)

    def summary(self) -> str:
        """Return what a person would look at first when something went wrong."""
        looks: Iterable[tuple[str, ...]] = (
            ("get", "databasemigrations,jobs,deployments,pods", "-o", "wide"),
            ("get", "databasemigrations", "-o", 'jsonpath={range .items[*]}{.metadata.name}{" "}{.status}{"\\n"}{end}'),
            ("get", "events", "--sort-by=.metadata.creationTimestamp"),
            ("logs", "-l", "app.kubernetes.io/component=migration", "--all-containers", "--prefix", "--tail=30"),
        )
        return "\n".join(self.kubectl(*look, check=False).stdout for look in looks)
