"""The figures of the runner: prints a table, writes build/bench.json.

Run it by ``.venv/bin/python bench/run.py``. Every figure is a ratio, measured next to plain Alembic in the same
run on the same machine, so that a busy machine shows in both.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg

ROOT = Path(__file__).parent.parent
PROJECTS = ROOT / "tests" / "projects"
LOCKGATE = [sys.executable, "-P", "-c", "from lockgate.runner.command_line import main; main()"]
ALEMBIC = [sys.executable, "-P", "-m", "alembic"]

READERS = 10
DDL_LOCK_MS = 500
SLACK_MS = 300
HOLD_SECONDS = 6.0
RUNNERS = 10


def load_server() -> ModuleType:
    """Load what starts servers; the tests use the same."""
    spec = importlib.util.spec_from_file_location("postgres_server", ROOT / "tests" / "postgres_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["postgres_server"] = module
    spec.loader.exec_module(module)
    return module


class Server:
    """A server of its own, with a fresh database for each measurement."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._count = 0

    def database(self) -> tuple[str, str]:
        """Create a database; return its URL for SQLAlchemy and for psycopg."""
        self._count += 1
        name = f"bench_{self._count}"
        with psycopg.connect(self._server.url("postgres").replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = self._server.url(name)
        return url, url.replace("+psycopg", "")


def run(command: list[str], folder: Path, url: str, **more: str) -> subprocess.Popen[bytes]:
    """Start a migration in a project."""
    environ = {**os.environ, "DATABASE_URL": url, "PYTHONDONTWRITEBYTECODE": "1", **more}
    return subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def traffic(url: str) -> Iterator[list[float]]:
    """Read the table in ten sessions and write it in one, and note how long each statement took."""
    took: list[float] = []
    stop = threading.Event()

    def client(statement: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not stop.wait(0.01):
                start = time.perf_counter()
                connection.execute(statement)
                took.append(time.perf_counter() - start)

    statements = ["SELECT count(*) FROM busy"] * READERS + ["UPDATE busy SET name = 'y' WHERE id = 1"]
    threads = [threading.Thread(target=client, args=(statement,), daemon=True) for statement in statements]
    for thread in threads:
        thread.start()
    try:
        yield took
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=30)


def worst_stall(server: Server, upgrade: list[str]) -> tuple[float, float]:
    """Alter a table that another transaction holds; return the longest statement of the others, and the whole time."""
    url, plain_url = server.database()
    folder = PROJECTS / "alters"
    assert run([*ALEMBIC, "upgrade", "a1"], folder, url).wait() == 0
    with psycopg.connect(plain_url) as holder, traffic(plain_url) as took:
        holder.execute("SELECT count(*) FROM busy")
        start = time.perf_counter()
        process = run(upgrade, folder, url, LOCKGATE_DDL_LOCK_TIMEOUT=f"{DDL_LOCK_MS}ms")
        time.sleep(HOLD_SECONDS)  # this is the experiment: a transaction of this length
        holder.rollback()
        assert process.wait(timeout=120) == 0, upgrade
        return max(took), time.perf_counter() - start


def runners_at_once(server: Server, count: int) -> tuple[float, int]:
    """Start runners at once on an empty database; return how long all took, and how many failed."""
    url, _ = server.database()
    start = time.perf_counter()
    codes = [process.wait() for process in [run([*LOCKGATE, "migrate"], PROJECTS / "sync", url) for _ in range(count)]]
    return time.perf_counter() - start, sum(code != 0 for code in codes)


def starts_at_once(server: Server, count: int) -> float:
    """Start plain Alembic as often at once where nothing is left to do: what starting that many processes costs."""
    url, _ = server.database()
    assert run([*ALEMBIC, "upgrade", "heads"], PROJECTS / "sync", url).wait() == 0
    start = time.perf_counter()
    for process in [run([*ALEMBIC, "upgrade", "heads"], PROJECTS / "sync", url) for _ in range(count)]:
        assert process.wait() == 0
    return time.perf_counter() - start


def measure(server: Server) -> list[dict[str, Any]]:
    """Measure everything; the plain figure of each pair is there to compare with, and has no goal."""
    bound = (DDL_LOCK_MS + SLACK_MS) / 1000
    plain, plain_whole = worst_stall(server, [*ALEMBIC, "upgrade", "heads"])
    ours, ours_whole = worst_stall(server, [*LOCKGATE, "migrate"])
    together, failed = runners_at_once(server, RUNNERS)
    started = starts_at_once(server, RUNNERS)
    stall = f"x {bound:.1f} s"
    return [
        {"name": "worst stall of readers and writer, lockgate", "ratio": ours / bound, "goal": 1.0, "unit": stall},
        {
            "name": "worst stall of readers and writer, plain Alembic",
            "ratio": plain / bound,
            "goal": None,
            "unit": stall,
        },
        {
            "name": "time behind that transaction",
            "ratio": ours_whole / plain_whole,
            "goal": 2.5,
            "unit": "x plain Alembic",
        },
        {"name": "ten runners at once", "ratio": together / started, "goal": 3.0, "unit": "x ten plain no-ops at once"},
        {"name": "ten runners at once, failed", "ratio": float(failed), "goal": 0.0, "unit": "processes"},
    ]


def main() -> int:
    """Print the figures and write them; the exit code says whether every goal is met."""
    module = load_server()
    with module.postgres_server() as server:
        figures = measure(Server(server))
    for figure in figures:
        figure["ratio"] = round(figure["ratio"], 2)
        goal = "" if figure["goal"] is None else f"goal <= {figure['goal']}"
        sys.stdout.write(f"{figure['name']:<52} {figure['ratio']:>7.2f} {figure['unit']:<28} {goal}\n")
    target = ROOT / "build" / "bench.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(figures, indent=2) + "\n")
    return int(any(figure["goal"] is not None and figure["ratio"] > figure["goal"] for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
