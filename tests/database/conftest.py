"""A real PostgreSQL per run, a fresh database per test, and `lockgate` as a process of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from lockgate.report import Report, read_report

TESTS = Path(__file__).parent.parent
LOCKGATE = "from lockgate.runner.command_line import main; main()"
WRITTEN_ENV = """
import os

from alembic import context
from sqlalchemy import create_engine, pool, text

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
WRITTEN_REVISION = """
import os

import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {parent!r}
{head}

def upgrade():
{upgrade}

def downgrade():
{downgrade}
"""


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


server_module = _load("postgres_server")
mariadb_module = _load("mariadb_server")
cached_environment = _load("cached_environment").cached_environment


def _missing(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@dataclass
class TestDatabase:
    """A fresh database and somebody who may look into it."""

    __test__ = False

    administration: str
    name: str

    def url(self, driver: str = "psycopg") -> str:
        parts = urlsplit(self.administration)
        return urlunsplit(parts._replace(scheme=f"postgresql+{driver}", path=f"/{self.name}"))

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url().replace("+psycopg", ""), **options)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.connect(autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def advisory_locks(self) -> int:
        return int(
            self.value(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        )


@dataclass
class SqliteFile:
    """A database file that is not there yet, and somebody who may look into it."""

    path: Path

    def url(self, driver: str = "") -> str:
        return f"sqlite:///{self.path}"

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = self.connect()
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    @property
    def tables(self) -> set[str]:
        return {row[0] for row in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}


@dataclass
class Result:
    """How a process of `lockgate` ended, and all that it said."""

    code: int
    output: str
    seconds: float
    progress: list[dict[str, Any]] = field(default_factory=list)

    @property
    def report(self) -> Report:
        found = read_report(self.output)
        assert found is not None, self.output
        return found

    @property
    def reason(self) -> str:
        return self.report.reason


class Process:
    """A running `lockgate`."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.popen = popen
        self.started = time.monotonic()
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        self.lines.extend(iter(self.popen.stdout.readline, ""))

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def end(self, timeout: float = 90) -> Result:
        code = self.popen.wait(timeout=timeout)
        seconds = time.monotonic() - self.started
        self._reader.join(timeout=10)
        records = [json.loads(line) for line in self.lines if line.startswith('{"lockgate":"progress"')]
        return Result(code, "".join(self.lines), seconds, records)


Starter = Callable[..., Process]
Runner = Callable[..., Result]


@pytest.fixture(scope="session")
def missing() -> Callable[[str], None]:
    """Skip with one line that says how to get what is missing; on the CI machine nothing may be missing."""
    return _missing


@pytest.fixture(scope="session")
def postgres_server() -> ModuleType:
    """Load what starts servers; the benchmark uses the same."""
    return server_module


GIVEN = os.environ.get("LOCKGATE_TEST_POSTGRES_URL", "")
KINDS = ("system", "embedded")
"""The servers that the tests start: the newest of this machine, and the newest there is, from a wheel."""
ONLY = os.environ.get("LOCKGATE_TEST_POSTGRES", "")
"""One of them: every test on that one, and on no other."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests that are marked so on each server."""
    marked = metafunc.definition.get_closest_marker("each_postgres")
    if marked and not GIVEN and not ONLY:
        metafunc.parametrize("postgres_kind", KINDS)


@pytest.fixture
def postgres_kind() -> str:
    """Return which kind of server this test runs on."""
    return ONLY or "system"


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], str]]:
    """Start each kind of server when it is first asked for; return the URL of its maintenance database."""
    urls = dict.fromkeys(KINDS, GIVEN) if GIVEN else {}
    with contextlib.ExitStack() as running:

        def url(kind: str) -> str:
            kind = ONLY or kind
            if kind not in urls:
                try:
                    server = running.enter_context(server_module.postgres_server(kind))
                except server_module.ServerBinariesMissing as error:
                    _missing(str(error))
                urls[kind] = server.url("postgres", "psycopg").replace("+psycopg", "")
            return urls[kind]

        yield url


@pytest.fixture
def administration(postgres_kind: str, servers: Callable[[str], str]) -> str:
    """Return the URL of a server where tests may create databases."""
    return servers(postgres_kind)


_count = iter(range(10**6))


@pytest.fixture
def make_database(administration: str) -> Iterator[Callable[[], TestDatabase]]:
    """Create fresh databases, dropped afterwards."""
    made: list[str] = []

    def make() -> TestDatabase:
        name = f"lockgate_test_{os.getpid()}_{next(_count)}"
        with psycopg.connect(administration, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        made.append(name)
        return TestDatabase(administration, name)

    yield make
    with psycopg.connect(administration, autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def database(make_database: Callable[[], TestDatabase]) -> TestDatabase:
    """Create a fresh database."""
    return make_database()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Any]:
    """Start a MariaDB server."""
    try:
        with mariadb_module.mariadb_server() as server:
            yield server
    except mariadb_module.ServerBinariesMissing as error:
        _missing(str(error))


@pytest.fixture
def mariadb_database(mariadb: Any) -> Iterator[Any]:
    """Create a fresh database on MariaDB, dropped afterwards."""
    name = f"shop_{next(_count)}"
    everything = mariadb_module.MariadbDatabase(mariadb, "")
    everything.rows(f"CREATE DATABASE {name}")
    yield mariadb_module.MariadbDatabase(mariadb, name)
    for (session,) in everything.rows(f"SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '{name}'"):
        with contextlib.suppress(Exception):  # it may have ended by itself
            everything.rows(f"KILL {session}")
    everything.rows(f"DROP DATABASE {name}")


@pytest.fixture
def sqlite_file(tmp_path: Path) -> SqliteFile:
    """Name a database file."""
    return SqliteFile(tmp_path / "shop.db")


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], Path]:
    """Copy the miniature projects of tests/projects, to run in one of them."""

    def copy(style: str) -> Path:
        target = tmp_path / "projects"
        if not target.exists():
            shutil.copytree(TESTS / "projects", target, ignore=shutil.ignore_patterns("__pycache__"))
        return target / style

    return copy


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write a project of revisions, by what they do, with what stands before their functions; and its env.py."""

    def indented(body: str) -> str:
        return "".join(f"    {line}\n" for line in body.strip().splitlines())

    def write(*revisions: str | tuple[str, str], env: str = WRITTEN_ENV, downgrade: str = "pass") -> Path:
        versions = tmp_path / "written" / "migrations" / "versions"
        versions.mkdir(parents=True)
        (versions.parent / "env.py").write_text(env)
        (versions.parent.parent / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
        for number, revision in enumerate(revisions, 1):
            head, upgrade = revision if isinstance(revision, tuple) else ("", revision)
            text = WRITTEN_REVISION.format(
                revision=f"n{number}",
                parent=f"n{number - 1}" if number > 1 else None,
                head=head,
                upgrade=indented(upgrade),
                downgrade=indented(downgrade),
            )
            (versions / f"n{number}.py").write_text(text)
        return versions.parent.parent

    return write


@pytest.fixture
def start(database: TestDatabase) -> Iterator[Starter]:
    """Start `lockgate` in a project; whatever still runs at the end of the test is killed."""
    started: list[Process] = []

    def start_one(
        folder: Path, *arguments: str, url: str | None = None, driver: str = "psycopg", python: str = "", **more: str
    ) -> Process:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("LOCKGATE_", "DATABASE_URL", "PYTHON"))}
        environ = {
            **inherited,
            "DATABASE_URL": url or database.url(driver),
            "LOCKGATE_OUTPUT": "json",
            "PYTHONDONTWRITEBYTECODE": "1",
            **more,
        }
        if python:
            environ["PYTHONPATH"] = str(TESTS.parent / "operator")
        popen = subprocess.Popen(
            [python or sys.executable, "-P", "-c", LOCKGATE, *(arguments or ("migrate",))],
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(Process(popen))
        return started[-1]

    yield start_one
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait()


@pytest.fixture
def run(start: Starter) -> Runner:
    """Run `lockgate` in a project until it ends."""

    def run_one(folder: Path, *arguments: str, **more: Any) -> Result:
        return start(folder, *arguments, **more).end()

    return run_one


@pytest.fixture
def tried_again_behind_a_reader(start, database, eventually):
    """Run a project whose revisions alter the table ``a``, until a reader of that has made it try again."""

    def ended(folder: Path):
        with database.connect() as reader:
            reader.execute("SELECT FROM a")
            process = start(folder)
            eventually(lambda: any('"retrying"' in line for line in process.lines))
            reader.rollback()

            return process.end()

    return ended


@pytest.fixture(scope="session")
def environment() -> Callable[..., Path]:
    """Make a virtual environment with exactly these packages; cached outside the checkout, return its Python."""
    return cached_environment


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Repeat until the function returns something true; its last value is in the failure."""

    def wait(function: Callable[[], Any], timeout: float = 20) -> Any:
        deadline = time.monotonic() + timeout
        while True:
            value = function()
            if value:
                return value
            assert time.monotonic() < deadline, f"never true: {value!r}"
            time.sleep(0.05)

    return wait
