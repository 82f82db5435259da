"""SQLite: a lock beside the file, and an exact account of what Python's driver has committed."""

from __future__ import annotations

import json
import signal

import pytest

NUMBERS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
ENDLESS = f"{NUMBERS} INSERT INTO people SELECT i, '' FROM n WHERE i < 0"
PETS = "CREATE TABLE pets (id integer PRIMARY KEY, name varchar(50))"


@pytest.fixture
def database(sqlite_file):
    """Stand in for the PostgreSQL of the other files: `start` and `run` use it."""
    return sqlite_file


def test_ten_runners_at_once_apply_each_revision_once_and_none_fails(start, project, database):
    folder = project("portable")
    results = [process.end() for process in [start(folder) for _ in range(10)]]

    assert [result.code for result in results] == [0] * 10, "".join(result.output for result in results)
    assert sorted(result.reason for result in results) == ["Migrated", *["NothingToDo"] * 9]
    assert database.rows("SELECT * FROM items") == [(1, "one")]


def test_what_the_driver_has_committed_is_said_exactly_and_the_rest_is_rolled_back(run, project, database):
    result = run(project("mixed"), AND_THEN="SELECT nonsense")

    report = result.report
    assert (result.code, result.reason, report.retryable) == (20, "HalfApplied", False), result.output
    assert report.failure.committed == (PETS,)
    assert "alembic_version still says m1." in report.message
    assert database.tables == {"alembic_version", "people", "pets"}
    assert database.rows("SELECT * FROM people") == []


def test_an_env_py_that_makes_the_driver_begin_gets_all_of_a_failed_revision_rolled_back(run, project, database):
    folder = project("begins")
    failed = run(folder, AND_THEN="SELECT nonsense")

    assert (failed.code, failed.reason) == (20, "MigrationFailed"), failed.output
    assert database.tables == {"alembic_version", "people"}
    assert run(folder).reason == "Migrated"


@pytest.mark.parametrize(
    ("packages", "style", "scheme"),
    [
        (("alembic==1.8.1", "sqlalchemy==1.4.54", "pymysql>=1.1"), "mixed", "sqlite"),
        (
            ("alembic>=1.16", "sqlalchemy[asyncio]>=2", "asyncmy>=0.2.10", "aiosqlite>=0.20"),
            "mixed_async",
            "sqlite+aiosqlite",
        ),
    ],
)
def test_old_libraries_and_asynchronous_ones_are_no_different(
    packages, style, scheme, run, project, database, environment
):
    url = database.url().replace("sqlite", scheme, 1)
    result = run(project(style), url=url, python=str(environment(*packages)), AND_THEN="SELECT nonsense")

    assert (result.code, result.reason) == (20, "HalfApplied"), result.output
    assert result.report.failure.committed == (PETS,)


def test_a_revision_is_taken_back_and_a_schema_without_a_version_adopted(run, project, database):
    folder = project("mixed")
    run(folder)
    back = run(folder, "downgrade", "m1", "--downgrade", "Allow")
    database.rows("DROP TABLE alembic_version")
    adopted = run(folder, "migrate", "--baseline", "m1")

    assert (back.code, back.reason) == (0, "Downgraded"), back.output
    assert (adopted.code, adopted.reason) == (0, "Migrated"), adopted.output
    assert [step.revision for step in adopted.report.applied] == ["m2"]


def test_a_database_that_somebody_writes_to_is_tried_again(start, project, database):
    folder = project("portable")
    writer = database.connect()
    writer.execute("BEGIN IMMEDIATE")
    process = start(folder, "migrate", "--ddl-lock-timeout", "100ms")
    while not any('"retrying"' in line for line in process.lines):
        assert process.popen.poll() is None, process.end().output
    writer.execute("ROLLBACK")
    writer.close()

    result = process.end()

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert result.report.attempts > 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_interrupts_a_long_statement_and_leaves_nothing_behind(number, start, project, database, eventually):
    folder = project("begins")
    process = start(folder, AND_THEN=ENDLESS)
    eventually(lambda: any("RECURSIVE" in line for line in process.lines))

    process.send(number)
    result = process.end(timeout=25)

    assert (result.code, result.reason) == (30, "Interrupted"), result.output
    assert database.tables == {"alembic_version", "people"}


def test_who_waits_says_who_holds_the_lock_and_takes_over_when_that_process_is_killed(
    start, run, project, database, eventually
):
    folder = project("begins")
    first = start(folder, AND_THEN=ENDLESS, LOCKGATE_RESOURCE="shop/shop", LOCKGATE_POD="shop-7c")
    eventually(lambda: any("RECURSIVE" in line for line in first.lines))
    second = start(folder)
    eventually(lambda: any('"waiting"' in line for line in second.lines))

    status = json.loads(run(folder, "status").output.splitlines()[-1])
    unlock = run(folder, "unlock", "--yes")
    first.send(signal.SIGKILL)
    result = second.end()

    waits = [event["waiting_for"] for event in result.progress if event["event"] == "waiting"]
    assert f"lock held by pid {first.popen.pid} (lockgate shop/shop shop-7c leader on " in waits[0]
    assert [holder["pid"] for holder in status["status"]["holders"]] == [first.popen.pid]
    assert (unlock.code, unlock.reason) == (22, "Refused")
    assert f"pid {first.popen.pid}" in unlock.report.message
    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert [step.revision for step in result.report.applied] == ["m2"]


def test_looking_makes_no_file_and_the_plan_says_what_sqlite_cannot_give(run, project, database):
    folder = project("portable")
    status = run(folder, "status")
    made = database.path.exists()
    plan = run(folder, "plan")

    assert not made
    assert (plan.code, status.code) == (0, 0), plan.output + status.output
    assert "commits each DDL statement of SQLite by itself" in plan.report.warnings[0]
    assert "half applied" not in " ".join(run(project("begins"), "plan").report.warnings)
    assert plan.report.pending == 3
    assert [row["sql"] is None for row in json.loads(plan.output.splitlines()[-1])["plan"]] == [False] * 3


def test_the_checks_that_make_sense_work(run, project, database):
    folder = project("portable")
    good = [
        {"sql": {"query": "SELECT count(*) FROM items", "expect": "1"}},
        {"exists": {"tables": ["items"], "columns": ["items.name"], "indexes": ["sqlite_autoindex_alembic_version_1"]}},
    ]
    run(folder)

    assert run(folder, "check", "--checks", json.dumps(good)).code == 0
    bad = run(folder, "check", "--checks", json.dumps([{"exists": {"tables": ["nothing"], "columns": ["items.no"]}}]))
    writes = run(folder, "check", "--checks", json.dumps([{"sql": {"query": "DELETE FROM items"}}]))
    assert (bad.code, writes.code) == (23, 23), bad.output + writes.output
    assert "missing: table nothing, column items.no" in bad.report.message
    assert database.rows("SELECT count(*) FROM items") == [(1,)]


def test_models_are_compared_without_a_write(run, project, database):
    result = run(project("portable"), "migrate", "--checks", json.dumps([{"drift": {}}]))

    assert result.code == 23, result.output
    assert "target_metadata" in result.report.message


def test_wait_ends_when_the_schema_is_there(start, run, project, database, eventually):
    folder = project("portable")
    waiting = start(folder, "wait", "--timeout", "60s")
    eventually(lambda: any('"waiting"' in line for line in waiting.lines))

    assert run(folder).reason == "Migrated"
    assert waiting.end().reason == "SchemaReady"


@pytest.mark.parametrize(
    ("url", "arguments", "reason"),
    [
        ("sqlite://", (), "UnsupportedDatabase"),
        ("sqlite:////nowhere/shop.db", (), "InvalidConfiguration"),
        (None, ("--checks", '[{"indexes": {}}]'), "InvalidConfiguration"),
        (None, ("--checks", '[{"constraints": {}}]'), "InvalidConfiguration"),
        (None, ("--statement-timeout", "5s"), "InvalidConfiguration"),
    ],
)
def test_what_sqlite_cannot_do_is_refused_before_anything_is_touched(url, arguments, reason, run, project, database):
    result = run(project("portable"), "migrate", *arguments, url=url)

    assert (result.code, result.reason) == (21, reason), result.output
    assert not database.path.exists() or database.tables == set()
