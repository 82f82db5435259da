"""Whatever stands where the version table should be: each command ends with a report and a documented exit code."""

from __future__ import annotations

import json
import os

import pytest

from lockgate.runner.command_line import execute

# The projects run in this process, and what they are warned of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

EXIT_CODES = {0, 10, 11, 12, 20, 21, 22, 23, 30}
TABLE = "CREATE TABLE alembic_version (version_num text); "
ODD = {
    "no row": TABLE,
    "a row that is NULL": TABLE + "INSERT INTO alembic_version VALUES (NULL)",
    "a row that is empty": TABLE + "INSERT INTO alembic_version VALUES ('')",
    "a row twice": TABLE + "INSERT INTO alembic_version VALUES ('r2'), ('r2')",
    "a row and its ancestor": TABLE + "INSERT INTO alembic_version VALUES ('r1'), ('r2')",
    "a row that steers terminals": TABLE + "INSERT INTO alembic_version VALUES (E'r1\\x1b[2J\\n%(x)s :y ''; --')",
    "a row without end": TABLE + "INSERT INTO alembic_version VALUES (repeat('r', 100000))",
    "many rows": TABLE + "INSERT INTO alembic_version SELECT 'x' || i FROM generate_series(1, 5000) i",
    "numbers": "CREATE TABLE alembic_version (version_num int); INSERT INTO alembic_version VALUES (5)",
    "bytes": "CREATE TABLE alembic_version (version_num bytea); INSERT INTO alembic_version VALUES ('\\xff')",
    "an array": "CREATE TABLE alembic_version (version_num text[]); INSERT INTO alembic_version VALUES ('{a}')",
    "another column": "CREATE TABLE alembic_version (v text); INSERT INTO alembic_version VALUES ('r2')",
    "no column": "CREATE TABLE alembic_version ()",
    "a view": "CREATE VIEW alembic_version AS SELECT CAST('r2' AS text) AS version_num",
    "a view that fails": "CREATE VIEW alembic_version AS SELECT CAST(1 / (random() * 0)::int AS text) AS version_num",
    "a sequence": "CREATE SEQUENCE alembic_version",
    "a type": "CREATE TYPE alembic_version AS (version_num text)",
    "a history of another make": "CREATE SCHEMA lockgate; CREATE TABLE lockgate.history (x int)",
    "a history that is a view": "CREATE SCHEMA lockgate; CREATE VIEW lockgate.history AS SELECT 1 AS x",
    "a memory of another make": "CREATE SCHEMA lockgate; CREATE TABLE lockgate.satisfied (x int)",
    "a column too few": "CREATE SCHEMA lockgate; CREATE TABLE lockgate.history AS SELECT 'a' AS revision",
}


@pytest.fixture
def said(database, project, monkeypatch, capsys):
    """Run `lockgate` in this process, which is much quicker; return its exit code and report."""
    monkeypatch.setattr("lockgate.runner.interruption.Interruption.listen", lambda *_, **__: None)
    monkeypatch.setattr("sys.stdin", None)
    for name in [name for name in os.environ if name.startswith("LOCKGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(project("sync"))
    monkeypatch.setenv("DATABASE_URL", database.url())

    def run(command, *arguments):
        code = execute([command, "--output", "json", *arguments])
        out, err = capsys.readouterr()
        return code, json.loads(out.splitlines()[-1]), out + err

    return run


@pytest.mark.parametrize("name", ODD)
def test_every_command_ends_in_order(name, database, said):
    database.rows(ODD[name])

    for command, *arguments in (
        *(("status",), ("plan",), ("history",), ("check",), ("unlock",), ("wait", "--timeout", "0s")),
        *(("migrate", "--ddl-lock-attempts", "2"), ("status",), ("migrate", "--ddl-lock-attempts", "2")),
    ):
        code, report, everything = said(command, *arguments)
        assert code in EXIT_CODES, (command, everything)
        assert (report["lockgate"], report.get("exit_code", 0)) == ("report", code)
        assert "Traceback" not in everything
        assert len(report["message"]) < 5000
    assert database.advisory_locks() == 0
