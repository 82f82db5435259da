"""The Procfile of examples/release-phase, run by honcho as a platform does: `release`, and if that ends well, `web`."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PROCFILE = Path(__file__).parents[3] / "examples/release-phase/Procfile"


class Platform:
    """Deploys as Heroku and Dokku do: a folder and an environment for each release, one Procfile for all of them."""

    def __init__(self, folder: Path, release: Callable[[Path, int], None], environ: dict[str, str]) -> None:
        self.folder = folder
        self._release = release
        self._environ = environ
        self.web: list[subprocess.Popen[bytes]] = []

    def deploy(self, version: int, port: int) -> subprocess.CompletedProcess[str]:
        """Run the release phase of a version; only where it succeeds, start its web process and stop the old one."""
        folder = self.folder / f"v{version}"
        self._release(folder, version)
        shutil.copy(PROCFILE, folder)
        process: dict[str, Any] = {
            "cwd": folder,
            "env": self._environ | {"SHOP_VERSION": str(version), "PORT": str(port)},
        }
        subprocess.run(["pip", "install", "--quiet", "lockgate"], check=True, **process)
        honcho = (sys.executable, "-m", "honcho", "start")
        done = subprocess.run([*honcho, "release"], check=False, capture_output=True, text=True, timeout=60, **process)
        if done.returncode == 0:
            self.stop()
            self.web.append(subprocess.Popen([*honcho, "web"], stdout=subprocess.DEVNULL, **process))
        return done

    def stop(self) -> None:
        """Stop what runs."""
        while self.web:
            process = self.web.pop()
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=15)


@pytest.fixture
def platform(
    tmp_path: Path, release: Callable[[Path, int], None], machine: dict[str, str], database: Any
) -> Iterator[Platform]:
    made = Platform(tmp_path, release, machine | {"DATABASE_URL": database.url()})
    yield made
    made.stop()


def answer(port: int) -> dict[str, Any] | None:
    """Return what the shop answers, or None while nobody does."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
            return json.load(response)
    except urllib.error.URLError:
        return None


def test_a_release_migrates_before_its_web_processes_start(platform, database, postgres_server, eventually) -> None:
    port = postgres_server.free_port()

    done = platform.deploy(1, port)

    assert done.returncode == 0, done.stdout + done.stderr
    assert database.rows("SELECT version_num FROM alembic_version") == [("0002",)]
    assert eventually(lambda: answer(port)) == {"shop": 1, "customers": 502, "orders": 2008}


def test_a_release_that_fails_ends_the_deployment_and_the_old_one_goes_on(
    platform, database, postgres_server, eventually
) -> None:
    port = postgres_server.free_port()
    assert platform.deploy(1, port).returncode == 0
    before = eventually(lambda: answer(port))
    # In version 3, a revision fails after two that do not.

    done = platform.deploy(3, postgres_server.free_port())

    assert done.returncode == 20, done.stdout + done.stderr
    assert "one_account_per_address" in done.stdout
    assert database.rows("SELECT version_num FROM alembic_version") == [("0004",)]
    assert answer(port) == before


def test_going_back_to_an_older_release_changes_nothing_in_the_database(
    platform, database, postgres_server, eventually
) -> None:
    assert platform.deploy(4, postgres_server.free_port()).returncode == 0
    port = postgres_server.free_port()

    done = platform.deploy(1, port)

    assert done.returncode == 0, done.stdout + done.stderr
    assert database.rows("SELECT version_num FROM alembic_version") == [("0005",)]
    assert eventually(lambda: answer(port))["shop"] == 1
