"""What env.py goes by besides the project's own files, and what it does besides its revisions."""

from __future__ import annotations

import importlib
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from lockgate.runner.entry.input_recorder import InputRecorder, is_session_statement
from lockgate.runner.revisions.inputs import Inputs, is_unchanged, written

NO_SECRETS: list[tuple[str, str]] = []


@pytest.mark.parametrize(
    "statement",
    [
        "SET search_path TO ann",
        "set local role migrator",
        "SELECT set_config('search_path', 'ann', false)",
        "SELECT pg_catalog.set_config('x.y', 'FROM here', false) -- FROM nowhere",
        "SELECT pg_advisory_lock(42)",
        "SELECT pg_try_advisory_xact_lock(hashtext('shop'))",
        "SELECT 1",
        "SELECT CAST('test plain returns' AS VARCHAR(60)) AS anon_1",
        "select pg_catalog.version()",
        "show standard_conforming_strings",
        "SAVEPOINT a",
    ],
)
def test_a_statement_that_only_sets_or_asks_the_session_is_no_work(statement: str) -> None:
    assert is_session_statement(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT name FROM tenants",
        "TABLE tenants",
        "SELECT make_tenants()",
        "SELECT set_config('a', (SELECT b FROM c), false)",
        "SELECT 1 INTO copy",
        "SET x = 1; DROP TABLE y",
        "CREATE SCHEMA IF NOT EXISTS ann",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "INSERT INTO audit VALUES (1)",
        "DO $$ BEGIN PERFORM 1; END $$",
        "CALL refresh()",
        "REFRESH MATERIALIZED VIEW v",
        "WITH x AS (DELETE FROM y RETURNING 1) SELECT 1",
        'SELECT "now"()',
        "SELECT other.now()",
    ],
)
def test_a_statement_that_reads_or_changes_what_stays_is_work(statement: str) -> None:
    assert not is_session_statement(statement)


def recorded(
    tmp_path: Path, work: Callable[[], object], addresses: tuple[tuple[str, int], ...] = ()
) -> tuple[Inputs, list[str]]:
    recorder = InputRecorder()
    with recorder:
        work()
    found = recorder.inputs(covered=[str(tmp_path / "migrations")], addresses=addresses, started=time.time_ns() + 10**9)
    return found, list(recorder.work)


def test_files_and_folders_that_are_read_are_known_and_those_of_the_project_are_not_named_again(tmp_path: Path) -> None:
    (tmp_path / "tenants.json").write_text("[]")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "env.py").write_text("")
    (tmp_path / "sql").mkdir()

    def work() -> None:
        (tmp_path / "tenants.json").read_text()
        (tmp_path / "migrations" / "env.py").read_text()
        with pytest.raises(FileNotFoundError):
            (tmp_path / ".env").read_text()
        list((tmp_path / "sql").glob("*.sql"))
        os.listdir(tmp_path / "migrations")

    inputs, said = recorded(tmp_path, work)

    assert [path for path in inputs.files if path.startswith(str(tmp_path))] == [
        str(tmp_path / ".env"),
        str(tmp_path / "tenants.json"),
    ]
    assert inputs.folders == (str(tmp_path / "sql"),)
    assert said == []


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "tenants.json").write_text('["ann", "bob"]'),
        lambda folder: (folder / "tenants.json").unlink(),
        lambda folder: (folder / ".env").write_text(""),
        lambda folder: (folder / "sql" / "R__view.sql").write_text(""),
        lambda folder: (folder / "sql").rmdir(),
        lambda folder: (folder / "lib" / "site-packages" / "tenants-1.0.dist-info").rename(
            folder / "lib" / "site-packages" / "tenants-1.1.dist-info"
        ),
    ],
    ids=["content", "gone", "appeared", "new in a folder", "folder gone", "package upgraded"],
)
def test_whatever_changes_of_it_is_noticed(change: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "tenants.json").write_text('["ann"]')
    (tmp_path / "sql").mkdir()
    packages = tmp_path / "lib" / "site-packages"
    (packages / "tenants-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "settings.py").write_text("")
    files = tuple(str(tmp_path / name) for name in (".env", "shop/settings.py", "tenants.json"))
    text = written(Inputs(files, (str(tmp_path / "sql"),), (str(packages),)), NO_SECRETS, "salt")

    (tmp_path / "sql" / "__pycache__").mkdir()
    assert is_unchanged(text, NO_SECRETS)
    (tmp_path / "sql" / "__pycache__").rmdir()
    change(tmp_path)

    assert not is_unchanged(text, NO_SECRETS)


def test_a_variable_with_a_secret_takes_part_and_cannot_be_read_from_what_is_kept() -> None:
    text = written(Inputs(), [("TOKEN_SCHEMA", "ann")], "salt")

    assert is_unchanged(text, [("TOKEN_SCHEMA", "ann")])
    assert not is_unchanged(text, [("TOKEN_SCHEMA", "bob")])
    assert not is_unchanged(text, [("TOKEN_SCHEMA", "ann"), ("NEW_TOKEN", "")])
    assert "ann" not in text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 1}', '{"files": [], "folders": 1}', "null"])
def test_what_another_version_has_written_is_not_believed(text: str) -> None:
    assert not is_unchanged(text, NO_SECRETS)


def test_modules_of_the_application_take_part_and_installed_ones_by_their_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site-packages"
    (packages / "installed_shop" / "migrations").mkdir(parents=True)
    (packages / "installed_library").mkdir()
    for path in ("installed_shop/__init__.py", "installed_library/__init__.py"):
        (packages / path).write_text("")
    (tmp_path / "shop_settings.py").write_text("TENANTS = ['ann']")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(packages))
    recorder = InputRecorder()
    try:
        with recorder:
            for name in ("shop_settings", "installed_shop", "installed_library"):
                importlib.import_module(name)
        covered = [str(packages / "installed_shop" / "migrations")]
        inputs = recorder.inputs(covered=covered, addresses=[], started=time.time_ns() + 10**9)
    finally:
        for name in ("shop_settings", "installed_shop", "installed_library"):
            del sys.modules[name]

    assert {path for path in inputs.files if path.startswith(str(tmp_path))} == {
        str(tmp_path / "shop_settings.py"),
        str(packages / "installed_shop" / "__init__.py"),
    }
    assert str(packages) in inputs.packages
    assert not any(path.startswith(str(tmp_path)) for path in inputs.folders)


def test_work_outside_of_the_database_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lockgate.runner.entry.input_recorder._temporary", lambda: ("/nowhere/",))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def work() -> None:
            subprocess.run([sys.executable, "-c", ""], check=True)
            Path("schema.sql").write_text("")
            with Path("run.log").open("a") as log:
                log.write("")
            socket.create_connection(("127.0.0.1", port)).close()

        _, said = recorded(tmp_path, work)
        _, to_the_database = recorded(
            tmp_path, lambda: socket.create_connection(("127.0.0.1", port)).close(), (("localhost", port),)
        )

    assert said == [
        f"it starts a program ({os.path.basename(sys.executable)})",
        "it writes the file schema.sql",
        "it connects to something other than the database",
    ]
    assert to_the_database == []


def test_a_file_that_is_looked_for_and_missing_takes_part(tmp_path: Path) -> None:
    before = os.stat
    inputs, said = recorded(tmp_path, (tmp_path / ".env").is_file)
    text = written(inputs, NO_SECRETS, "salt")

    assert (str(tmp_path / ".env") in inputs.files, said, os.stat is before) == (True, [], True)
    assert is_unchanged(text, NO_SECRETS)
    (tmp_path / ".env").write_text("TENANT=bob")
    assert not is_unchanged(text, NO_SECRETS)


def test_the_set_of_functions_that_take_a_descriptor_still_has_stat(tmp_path: Path) -> None:
    found: list[bool] = []

    recorded(tmp_path, lambda: found.append(os.stat in os.supports_fd and {os.stat} <= os.supports_dir_fd))

    assert found == [True]


def test_a_connection_of_the_drivers_is_work_and_one_that_an_engine_asks_for_is_none(tmp_path: Path) -> None:
    opened: list[str] = []

    class Driver:
        """Stands for psycopg, which nothing here connects with."""

        @staticmethod
        def connect() -> sqlite3.Connection:
            opened.append("")
            return sqlite3.connect(":memory:")

    def connect() -> sqlite3.Connection:
        opened_now: sqlite3.Connection = sys.modules["pymysql"].connect()
        return opened_now

    sys.modules["pymysql"], before = Driver, sys.modules.get("pymysql")  # type: ignore[assignment]  # as a module is
    try:
        engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)
        _, of_an_engine = recorded(tmp_path, lambda: engine.connect().close())
        _, by_itself = recorded(tmp_path, lambda: connect().close())
        _, raw = recorded(tmp_path, lambda: engine.raw_connection().close())
    finally:
        del sys.modules["pymysql"]
        sys.modules.update({"pymysql": before} if before else {})

    assert (of_an_engine, len(opened)) == ([], 2)
    assert by_itself == raw == ["it uses the database driver by itself"]


def test_what_changes_while_env_py_runs_is_not_recorded_as_what_it_has_read(tmp_path: Path) -> None:
    file = tmp_path / "tenants.json"
    file.write_text("[]")
    recorder = InputRecorder()
    with recorder:
        file.read_text()

    recorder.inputs(covered=[], addresses=[], started=file.stat().st_mtime_ns - 1)

    assert list(recorder.work) == ["tenants.json, which it reads, was changed while it ran"]


def test_nothing_is_recorded_before_and_after_nor_in_a_revision(tmp_path: Path) -> None:
    file = tmp_path / "seed.csv"
    file.write_text("")
    recorder = InputRecorder()
    with recorder, recorder.revision():
        file.read_text()
        recorder.statement("INSERT INTO a VALUES (1)")
    with recorder, recorder.alembics_own():
        recorder.statement("SELECT version_num FROM alembic_version")
    file.read_text()
    recorder.statement("SELECT name FROM tenants")

    inputs = recorder.inputs(covered=[], addresses=[], started=time.time_ns() + 10**9)

    assert str(file) not in inputs.files
    assert list(recorder.work) == []
    with recorder:
        recorder.statement("SELECT name FROM tenants")
    assert list(recorder.work) == ["it executes SQL of its own, besides its revisions"]


def test_what_env_py_does_while_it_is_heard_never_waits_for_the_one_who_hears(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)  # as at the start of a process: Python tries folders, under a lock
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def work():
        with InputRecorder():
            (tmp_path / "installation_id").write_text("written by the application")
            found.append(tempfile.gettempdir())

    found: list[str] = []
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)

    assert found == [str(tmp_path)]
