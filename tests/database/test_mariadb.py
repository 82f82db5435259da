"""MariaDB, or a MySQL that is given: named locks, DDL that commits by itself, what a failed revision has committed."""

from __future__ import annotations

import contextlib
import json
import signal

import pytest

from lockgate.runner.database.connection import Database, parse_url
from lockgate.runner.database.session_settings import Settings

PETS = "CREATE TABLE pets (id integer PRIMARY KEY, name varchar(50))"
BOB = "INSERT INTO people VALUES (2, 'Bob')"
ANN, BOB_AS_SHOWN = "INSERT INTO people VALUES (1, '***')", "INSERT INTO people VALUES (2, '***')"
"""Literals are values, and masked wherever a statement is shown."""
TOYS = "CREATE TABLE toys (id integer PRIMARY KEY)"
LONGER = "ALTER TABLE people MODIFY name varchar(60)"


@pytest.fixture
def database(mariadb_database):
    """Stand in for the PostgreSQL of the other files: `start` and `run` use it."""
    return mariadb_database


@pytest.mark.parametrize("style", ["portable", "engine_begin"])
def test_runners_at_once_apply_each_revision_once_and_none_fails(style, start, project, database):
    folder = project(style)
    results = [process.end() for process in [start(folder) for _ in range(6)]]

    assert [result.code for result in results] == [0] * 6, "".join(result.output for result in results)
    assert sorted(result.reason for result in results) == ["Migrated", *["NothingToDo"] * 5]
    assert database.rows("SELECT * FROM items") == [(1, "one")]


def test_an_own_session_reads_rows_as_they_are_whatever_the_url_sets_sessions_to(database):
    init = "SET sql_mode='ANSI', sql_select_limit=1, wait_timeout=1"
    url = parse_url(database.url()).update_query_dict({"init_command": init})

    own = Database(url, Settings()).connect("probe")
    found = own.rows("SELECT \"x\" UNION ALL SELECT 'y'")
    own.close()

    assert found == [("x",), ("y",)]


@pytest.mark.parametrize(
    ("statements", "committed"),
    [
        ("SELECT nonsense", (PETS, ANN, TOYS)),
        (f"{BOB};SELECT nonsense", (PETS, ANN, TOYS)),  # rolled back
        (
            f"{BOB};CREATE TABLE pets (id integer)",
            (PETS, ANN, TOYS, BOB_AS_SHOWN),
        ),  # committed by a statement that failed
        (f"{BOB};CREATE TABLE", (PETS, ANN, TOYS)),  # that was no statement
    ],
)
def test_what_ddl_has_committed_is_said_exactly_also_by_ddl_that_failed(statements, committed, run, project, database):
    result = run(project("mixed"), AND_THEN=statements)

    report = result.report
    assert (result.code, result.reason, report.retryable) == (20, "HalfApplied", False), result.output
    assert report.failure.committed == committed
    assert "alembic_version still says m1." in report.message
    assert database.tables == {"alembic_version", "people", "pets", "toys"}
    assert database.value("SELECT count(*) FROM people") == sum("INSERT" in statement for statement in committed)


@pytest.mark.parametrize(
    ("packages", "style", "driver"),
    [
        (("alembic==1.8.1", "sqlalchemy==1.4.54", "pymysql>=1.1"), "mixed", "pymysql"),
        (("alembic>=1.16", "sqlalchemy[asyncio]>=2", "asyncmy>=0.2.10", "aiosqlite>=0.20"), "mixed_async", "asyncmy"),
    ],
)
def test_old_libraries_and_drivers_that_do_not_say_are_no_different(
    packages, style, driver, run, project, database, environment
):
    url = database.url().replace("+pymysql", f"+{driver}")
    result = run(
        project(style), url=url, python=str(environment(*packages)), AND_THEN=f"{BOB};CREATE TABLE pets (id integer)"
    )

    assert (result.code, result.reason) == (20, "HalfApplied"), result.output
    assert result.report.failure.committed == (PETS, ANN, TOYS, BOB_AS_SHOWN)


def test_a_revision_is_taken_back_and_what_is_left_of_a_failure_is_said(run, project, database):
    folder = project("mixed")
    run(folder)
    back = run(folder, "downgrade", "m1", "--downgrade", "Allow")
    run(folder)
    failed = run(folder, "downgrade", "m1", "--downgrade", "Allow", AND_BACK="SELECT nonsense")

    assert (back.code, back.reason) == (0, "Downgraded"), back.output
    assert (failed.code, failed.reason) == (20, "HalfApplied"), failed.output
    assert failed.report.failure.committed == ("DROP TABLE toys", "DELETE FROM people", "DROP TABLE pets")


def test_a_schema_without_a_version_is_adopted(run, project, database):
    database.rows("CREATE TABLE people (id integer PRIMARY KEY, name varchar(50))")
    result = run(project("mixed"), "migrate", "--baseline", "m1")

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert [step.revision for step in result.report.applied] == ["m2"]


def test_a_failure_before_anything_is_committed_is_an_ordinary_one(run, project, database):
    folder = project("mixed")
    failed = run(folder, FIRST=f"{BOB};SELECT nonsense")

    assert (failed.code, failed.reason) == (20, "MigrationFailed"), failed.output
    assert "Unknown column" in failed.report.message
    assert database.rows("SELECT * FROM people") == []
    assert run(folder).reason == "Migrated"


def test_ddl_gives_way_to_a_transaction_and_is_tried_again(start, run, project, database, eventually):
    folder = project("mixed")
    run(folder, "migrate", "--target", "m1")
    with contextlib.closing(database.connect()) as reader:
        reader.cursor().execute("SELECT * FROM people")
        process = start(folder, FIRST=LONGER)
        eventually(lambda: any('"retrying"' in line for line in process.lines))
    result = process.end()

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert result.report.attempts > 1
    waits = [event["waiting_for"] for event in result.progress if event["event"] == "running"]
    assert "table metadata lock" in waits


def test_a_lock_timeout_after_something_is_committed_is_not_tried_again(run, project, database):
    folder = project("mixed")
    run(folder, "migrate", "--target", "m1")
    with contextlib.closing(database.connect()) as reader:
        reader.cursor().execute("SELECT * FROM people")
        result = run(folder, AND_THEN=LONGER)

    assert (result.code, result.reason, result.report.attempts) == (20, "HalfApplied", 1), result.output
    assert result.report.failure.committed == (PETS, ANN, TOYS)
    assert "Lock wait timeout" in result.report.message


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_long_statement_also_on_the_server(number, start, project, database, eventually):
    process = start(project("mixed"), FIRST=f"{BOB};SELECT SLEEP(60)")
    eventually(lambda: database.running("SLEEP(60)"))

    process.send(number)
    result = process.end(timeout=25)

    assert (result.code, result.reason) == (30, "Interrupted"), result.output
    eventually(lambda: not database.running("SLEEP(60)"))
    assert database.rows("SELECT * FROM people") == []


def test_a_signal_ends_ddl_that_waits_and_the_next_run_does_it(start, run, project, database, eventually):
    folder = project("mixed")
    run(folder, "migrate", "--target", "m1")
    with contextlib.closing(database.connect()) as reader:
        reader.cursor().execute("SELECT * FROM people")
        process = start(folder, "migrate", "--ddl-lock-timeout", "60s", FIRST=LONGER)
        eventually(lambda: database.running(LONGER))
        process.send(signal.SIGTERM)
        result = process.end(timeout=25)
        eventually(lambda: not database.running(LONGER))

    assert (result.code, result.reason) == (30, "Interrupted"), result.output
    assert run(folder, FIRST=LONGER).reason == "Migrated"


def test_a_session_that_is_lost_before_anything_is_committed_is_tried_again(start, project, database, eventually):
    process = start(project("mixed"), FIRST="SELECT SLEEP(3)")
    (session,) = eventually(lambda: database.running("SLEEP(3)"))

    database.rows(f"KILL {session}")
    result = process.end()

    assert (result.code, result.report.attempts) == (0, 2), result.output


def test_ddl_whose_session_is_lost_may_have_been_done_and_is_not_repeated(start, run, project, database, eventually):
    folder = project("mixed")
    run(folder, "migrate", "--target", "m1")
    with contextlib.closing(database.connect()) as reader:
        reader.cursor().execute("SELECT * FROM people")
        process = start(folder, "migrate", "--ddl-lock-timeout", "30s", FIRST=LONGER)
        (session,) = eventually(lambda: database.running(LONGER))
        database.rows(f"KILL {session}")
        result = process.end()

    assert (result.code, result.reason, result.report.attempts) == (20, "HalfApplied", 1), result.output
    assert f"{LONGER} (perhaps)" in result.report.message


def test_who_waits_names_the_holder_and_unlock_ends_exactly_that_session(start, run, project, database, eventually):
    folder = project("mixed")
    first = start(folder, FIRST="SELECT SLEEP(60)")
    (session,) = eventually(lambda: database.running("SLEEP(60)"))
    second = start(folder)
    eventually(lambda: any('"waiting"' in line for line in second.lines))
    status = json.loads(run(folder, "status").output.splitlines()[-1])["status"]
    first.send(signal.SIGSTOP)  # or it would begin again
    second.send(signal.SIGTERM)
    waited = second.end()

    unlock = run(folder, "unlock", "--yes")

    holders = {holder["lock"]: holder for holder in status["holders"]}
    assert holders["fence"]["pid"] == session
    assert {holder["role"] for holder in holders.values()} == {"shop"}
    assert "lock held by pid" in next(e["waiting_for"] for e in waited.progress if e["event"] == "waiting")
    assert (unlock.code, unlock.reason) == (0, "Unlocked"), unlock.output
    assert not database.running("SLEEP(60)")
    first.send(signal.SIGKILL)
    assert run(folder).reason == "Migrated"


def test_a_killed_runner_leaves_its_revision_to_the_next_which_waits_for_its_statement(
    start, run, project, database, eventually
):
    folder = project("mixed")
    first = start(folder, FIRST=f"{BOB};SELECT SLEEP(4)")
    eventually(lambda: database.running("SLEEP(4)"))

    first.send(signal.SIGKILL)
    result = run(folder)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert [step.revision for step in result.report.applied] == ["m2"]
    assert database.rows("SELECT * FROM people") == [(1, "Ann")]


def test_a_statement_that_takes_too_long_is_ended(run, project, database):
    # Not SLEEP(), which MySQL ends without an error.
    names = ", ".join(f"information_schema.COLUMNS {alias}" for alias in "abcd")
    endless = f"SELECT count(*) FROM {names} WHERE a.COLUMN_NAME < concat(b.EXTRA, c.EXTRA, d.COLUMN_NAME)"
    result = run(project("mixed"), "migrate", "--statement-timeout", "1s", FIRST=endless)

    assert (result.code, result.reason) == (20, "MigrationFailed"), result.output
    assert database.rows("SELECT version_num FROM alembic_version") == [("m1",)]


def test_a_read_only_server_is_refused(run, project, database):
    database.rows("SET GLOBAL read_only = 1")
    try:
        result = run(project("portable"))
    finally:
        database.rows("SET GLOBAL read_only = 0")

    assert (result.code, result.reason) == (11, "DatabaseReadOnly"), result.output
    assert database.tables == set()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda url: url.replace("s3cret", "wrong"), "InvalidConfiguration"),
        (lambda url: url.rpartition("/")[0], "InvalidConfiguration"),
        (lambda url: f"{url}_missing", "InvalidConfiguration"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused(change, reason, run, project, database):
    result = run(project("portable"), url=change(database.url()))

    assert (result.code, result.reason) == (21, reason), result.output
    assert "wrong" not in result.output


def test_values_of_rows_are_not_repeated(run, project, database):
    result = run(project("mixed"), FIRST=f"{BOB};{BOB.replace('Bob', 'secret-name')}")

    assert "Duplicate entry '...' for key '" in result.report.message
    assert "secret-name" not in result.report.message
    assert result.report.failure.sqlstate in ("23000", "1062")  # the driver's SQLSTATE, or the server's number


def test_the_plan_says_that_ddl_commits_and_the_checks_that_make_sense_work(run, project, database):
    folder = project("portable")
    plan = run(folder, "plan")
    run(folder)
    good = [
        {"sql": {"query": "SELECT count(*) FROM items", "expect": "1"}},
        {"exists": {"tables": ["items", f"{database.name}.notes"], "columns": ["items.name"], "indexes": ["PRIMARY"]}},
    ]
    bad = [{"exists": {"tables": ["nothing"], "columns": ["items.no"], "indexes": ["items.no"]}}]
    writes = [{"sql": {"query": "DELETE FROM items"}}]

    assert "commit every DDL statement by itself" in " ".join(plan.report.warnings)
    assert plan.report.pending == 3
    assert run(folder, "check", "--checks", json.dumps(good)).code == 0
    failed = run(folder, "check", "--checks", json.dumps(bad))
    assert "missing: table nothing, index items.no, column items.no" in failed.report.message
    assert run(folder, "check", "--checks", json.dumps(writes)).code == 23
    drift = run(folder, "check", "--checks", json.dumps([{"drift": {}}]))
    assert "env.py gives no target_metadata" in drift.report.message
    assert run(folder, "check", "--checks", '[{"indexes": {}}]').code == 21
    assert database.value("SELECT count(*) FROM items") == 1
