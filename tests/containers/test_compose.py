"""examples/compose, run by Docker Compose itself: real containers, health checks, conditions and replicas.

Compose is compiled from its source; the engine behind it is Docker's, or podman where there is none. The names of the
images are replaced, and that of PostgreSQL's folder: the image here is not the one from Docker.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_access import CHECKOUT, Access, eventually

FILE = CHECKOUT / "examples/compose/compose.yaml"
PASSWORD = "only-for-the-test"


@dataclass(frozen=True)
class Project:
    """The project, whose images a second file replaces by those of this checkout."""

    engine: dict[str, str]
    images: Access
    folder: Path

    def at(self, version: int, seconds: float = 0) -> None:
        """Say which version of the shop is to run, and how long version 2's slow revision takes."""
        name = f"localhost/shop-with-lockgate:{version}"
        self.images.build(name)
        self.images.build("localhost/postgres:lockgate")
        shop = {"image": name, "pull_policy": "never", "environment": {"SHOP_VERSION": str(version)}}
        migrate = shop | {"environment": {"LOCKGATE_ARGS": json.dumps({"seconds": str(seconds)})}}
        postgres = {"image": "localhost/postgres:lockgate", "pull_policy": "never"}
        postgres["environment"] = {"PGDATA": "/var/lib/postgresql/cluster"}
        override = {"services": {"db": postgres, "migrate": migrate, "app": shop}}
        (self.folder / "images.yaml").write_text(yaml.safe_dump(override))

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Docker Compose to its end."""
        process = self.start(*arguments)
        stdout, _ = process.communicate(timeout=120)
        assert not check or process.returncode == 0, stdout
        return subprocess.CompletedProcess(arguments, process.returncode, stdout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Docker Compose."""
        files = ("--file", str(FILE), "--file", str(self.folder / "images.yaml"), "--progress", "plain")
        return subprocess.Popen(
            [self.engine["COMPOSE"], *files, *arguments],
            env={**os.environ, **self.engine, "POSTGRES_PASSWORD": PASSWORD},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def containers(self, service: str) -> list[dict[str, Any]]:
        """Return the containers of a service, ended ones too."""
        listed = self.compose("ps", "--all", "--format", "json", service).stdout
        return [json.loads(line) for line in listed.splitlines()]

    def states(self, service: str) -> list[str]:
        return [container["State"] for container in self.containers(service)]

    def sql(self, query: str) -> list[str]:
        """Ask the database, in its own container."""
        psql = ("exec", "-T", "db", "psql", "-h", "/tmp", "-U", "postgres", "-d", "shop", "-qAtc", query)
        return self.compose(*psql).stdout.split()

    def answers(self) -> list[dict[str, Any]]:
        """Ask each replica what it is, in its own container."""
        code = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/').read().decode())"
        replicas = range(1, len(self.containers("app")) + 1)
        said = [self.compose("exec", "-T", "--index", str(n), "app", "python3", "-c", code).stdout for n in replicas]
        return [json.loads(text) for text in said]


@pytest.fixture
def project(engine: dict[str, str], images: Access, tmp_path: Path) -> Iterator[Project]:
    made = Project(engine, images, tmp_path)
    made.at(1)
    yield made
    made.compose("down", "--volumes", "--timeout", "1")


def test_the_application_starts_when_the_migration_has_ended_well(project: Project) -> None:
    project.compose("up", "--detach")

    assert project.states("migrate") == ["exited"]
    assert project.sql("SELECT version_num FROM alembic_version") == ["0002"]
    served = {"shop": 1, "customers": 502, "orders": 2008}
    assert eventually(project.answers) == [served, served]
    assert PASSWORD not in project.compose("logs").stdout


def test_a_migration_that_is_killed_keeps_the_application_from_starting_and_the_next_try_continues(
    project: Project,
) -> None:
    project.at(2, seconds=30)
    up = project.start("up", "--detach")
    eventually(lambda: works(project), 60)

    project.compose("kill", "migrate")

    stdout, _ = up.communicate(timeout=60)
    assert up.returncode != 0
    assert "didn't complete successfully" in stdout
    assert project.states("app") == ["created", "created"]
    assert project.sql("SELECT version_num FROM alembic_version") == ["0003"]

    project.at(2)
    project.compose("up", "--detach")

    assert [answer["shop"] for answer in eventually(project.answers)] == [2, 2]
    assert project.sql("SELECT revision FROM lockgate.history ORDER BY 1") == ["0001", "0002", "0003", "0004"]


def works(project: Project) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'UPDATE orders%' AND state = 'active'"
    assert project.states("migrate") == ["running"]
    assert project.sql(query) == ["1"]


def test_migrating_first_keeps_the_old_version_serving_until_the_new_one_has_its_schema(project: Project) -> None:
    project.compose("up", "--detach")
    eventually(project.answers)

    project.at(3)
    failed = project.compose("run", "migrate", check=False)

    assert failed.returncode == 20
    assert "one_account_per_address" in failed.stdout
    # podman's API names images differently from Docker's, and Compose replaces the database's container for it.
    assert [answer["shop"] for answer in eventually(project.answers)] == [1, 1]

    project.at(4)
    project.compose("run", "migrate")
    assert [answer["shop"] for answer in eventually(project.answers)] == [1, 1]
    project.compose("up", "--detach", "--remove-orphans")
    assert [answer["shop"] for answer in eventually(project.answers)] == [4, 4]
    assert project.states("migrate") == ["exited"]


def test_bringing_up_a_version_whose_migration_fails_leaves_no_application_running(project: Project) -> None:
    """Compose replaces containers before it waits for what they depend on: the example's README says so."""
    project.compose("up", "--detach")
    eventually(project.answers)

    project.at(3)
    failed = project.compose("up", "--detach", check=False)

    assert failed.returncode != 0
    assert project.states("app") == ["created", "created"]
