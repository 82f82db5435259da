"""How the figures are taken: a server, processes with their time, and two sides in turn."""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg

ROOT = Path(__file__).parent.parent
PROJECTS = ROOT / "tests" / "projects"
LOCKGATE = ("-P", "-c", "from lockgate.runner.command_line import main; main()")
ALEMBIC = ("-P", "-m", "alembic")


@dataclass(frozen=True)
class Figure:
    """A line of the table. A figure without a goal is there to compare with."""

    name: str
    ratio: float
    goal: float | None
    unit: str


@dataclass(frozen=True)
class Command:
    """A process to start."""

    words: tuple[str, ...]
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def start(self) -> subprocess.Popen[bytes]:
        """Start it; what it says is thrown away."""
        # Installed packages have their bytecode beside them: PYTHONDONTWRITEBYTECODE would keep it from our modules.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LOCKGATE_", "PYTHON"))}
        environ = {**inherited, "PYTHONPATH": str(ROOT / "operator"), **self.environ}
        return subprocess.Popen(
            self.words, cwd=self.folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


@dataclass(frozen=True)
class Ran:
    """What a process took, from its start to its end."""

    seconds: float
    cpu: float
    """User and system time of the process itself, without the server's."""


def run(command: Command) -> Ran:
    """Run a process that has to succeed."""
    start = time.perf_counter()
    process = command.start()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, (process.returncode, command)
    return Ran(time.perf_counter() - start, usage.ru_utime + usage.ru_stime)


def in_turn(rounds: int, *sides: Callable[[], Ran]) -> list[tuple[Ran, ...]]:
    """Run all sides in every round, so that a busy machine shows in each of them."""
    return [tuple(side() for side in sides) for _ in range(rounds)]


def median_ratio(pairs: Iterable[tuple[float, float]]) -> float:
    """Return the median of the rounds' ratios."""
    return statistics.median(ours / plain for ours, plain in pairs)


class Server:
    """A server of its own, with a fresh database for each measurement."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._count = 0

    def database(self, driver: str = "psycopg", template: str = "template1") -> str:
        """Create a database; return its URL."""
        self._count += 1
        name = f"bench_{self._count}"
        with psycopg.connect(self.plain(self._server.url("postgres")), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return str(self._server.url(name, driver))

    def drop(self, url: str) -> None:
        """Drop a database that is not needed any more: some of them are large."""
        with psycopg.connect(self.plain(self._server.url("postgres")), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    @staticmethod
    def plain(url: str) -> str:
        """Return the URL for psycopg."""
        return url.replace("+psycopg", "").replace("+asyncpg", "")


def load(name: str) -> ModuleType:
    """Load a module that the tests share with the benchmarks."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
