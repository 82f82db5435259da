"""Other sessions come first: DDL never queues for long, and the run is tried again until it gets its turn."""

from __future__ import annotations

import threading
import time

import pytest


@pytest.fixture
def reader(database):
    """Open a session whose transaction reads the table, and so holds its lock, until it is told to end."""
    connection = database.connect()
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("style", "driver"), [("alters", "psycopg"), ("alters", "psycopg2"), ("alters_async", "asyncpg")]
)
def test_a_revision_behind_a_reader_is_tried_again_and_never_waits_long(
    style, driver, start, run, project, database, reader, eventually
):
    folder = project(style)
    run(folder, "migrate", "--target", "a1", driver=driver)
    reader.execute("SELECT count(*) FROM busy")

    process = start(folder, driver=driver, LOCKGATE_DDL_LOCK_TIMEOUT="200ms")
    eventually(lambda: sum('"retrying"' in line for line in process.lines) >= 2)
    stalls = [_stall(database) for _ in range(10)]
    reader.rollback()
    result = process.end()

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert result.report.attempts >= 3
    assert max(stalls) < 0.2 + 0.3
    assert database.value("SELECT count(*) FROM information_schema.columns WHERE column_name = 'more'") == 1


def _stall(database):
    start = time.monotonic()
    database.rows("SELECT count(*) FROM busy")
    return time.monotonic() - start


def test_attempts_that_are_used_up_end_the_run_as_busy_and_name_the_blocker(run, project, reader):
    folder = project("alters")
    run(folder, "migrate", "--target", "a1")
    reader.execute("SELECT count(*) FROM busy")

    result = run(folder, "migrate", "--ddl-lock-attempts", "3", "--ddl-lock-timeout", "600ms")

    report = result.report
    assert (result.code, result.reason, report.retryable, report.attempts) == (12, "DatabaseBusy", True, 3), (
        result.output
    )
    assert (report.reached, report.pending) == (("a1",), 1)
    assert report.failure.sqlstate == "55P03"
    waits = {event.get("waiting_for", "") for event in result.progress}
    blocker = f"lock on busy held by pid {reader.info.backend_pid}"
    assert any(blocker in text for text in waits), waits
    assert f"Tried 3 times. It waited for {blocker}" in report.message


@pytest.mark.parametrize(("style", "driver"), [("sync", "psycopg"), ("sync", "psycopg2"), ("async", "asyncpg")])
def test_create_index_concurrently_may_wait_longer_than_the_lock_timeout(
    style, driver, start, run, project, database, reader, eventually
):
    folder = project(style)
    run(folder, "migrate", "--target", "r2", driver=driver)
    reader.execute("INSERT INTO items VALUES (1000, 'uncommitted')")

    process = start(folder, driver=driver, LOCKGATE_DDL_LOCK_TIMEOUT="100ms")
    eventually(lambda: database.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONC%'"))
    ending = threading.Timer(0.7, reader.rollback)
    ending.start()
    result = process.end()
    ending.join()

    assert (result.code, result.reason, result.report.attempts) == (0, "Migrated", 1), result.output
    assert database.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'items_name'::regclass")


CROSSING = """
    op.execute("UPDATE busy SET name = 'ours' WHERE id = 1")
    op.execute(\"\"\"DO $$ BEGIN
        WHILE EXISTS (SELECT FROM pg_locks WHERE relation = 'gates'::regclass)
          AND NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid')
        LOOP PERFORM pg_sleep(0.01); END LOOP;
    END $$\"\"\")
    op.execute("UPDATE busy SET name = 'ours' WHERE id = 2")
"""
"""A revision that locks a second row once somebody who has that one waits for the first."""


def revise(folder, body):
    file = folder.parent / "alters" / "versions" / "a2.py"
    head, found, _ = file.read_text().partition("def upgrade() -> None:\n")
    assert found
    file.write_text(head + found + body)


@pytest.mark.parametrize(
    ("style", "driver"), [("alters", "psycopg"), ("alters", "psycopg2"), ("alters_async", "asyncpg")]
)
def test_a_revision_that_loses_in_a_deadlock_is_tried_again(style, driver, start, run, project, database, eventually):
    folder = project(style)
    run(folder, "migrate", "--target", "a1", driver=driver)
    revise(folder, CROSSING)
    database.rows("CREATE TABLE gates ()")
    database.rows(f"ALTER DATABASE {database.name} SET deadlock_timeout = '10ms'")
    with database.connect(options="-c deadlock_timeout=1h") as other:
        other.execute("SELECT FROM gates")  # as long as this is held, the revision waits for the other to wait
        other.execute("UPDATE busy SET name = 'theirs' WHERE id = 2")
        process = start(folder, driver=driver, LOCKGATE_DDL_LOCK_TIMEOUT="60s")
        eventually(lambda: database.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO $$%'"))

        other.execute("UPDATE busy SET name = 'theirs' WHERE id = 1")  # returns when the revision has lost
        other.commit()
    result = process.end()

    assert (result.code, result.reason, result.report.attempts) == (0, "Migrated", 2), result.output
    assert any("deadlock" in event.get("waiting_for", "") for event in result.progress), result.output
    assert database.rows("SELECT DISTINCT name FROM busy WHERE id < 3") == [("ours",)]


@pytest.mark.parametrize(
    ("style", "driver"), [("alters", "psycopg"), ("alters", "psycopg2"), ("alters_async", "asyncpg")]
)
def test_a_revision_that_cannot_be_serialized_is_tried_again(style, driver, start, run, project, database, eventually):
    folder = project(style)
    run(folder, "migrate", "--target", "a1", driver=driver)
    revise(folder, "    op.execute(\"UPDATE busy SET name = name || 'y' WHERE id = 1\")\n")
    env = folder / "migrations" / "env.py"
    text = env.read_text()
    env.write_text(text.replace("poolclass=", "isolation_level='REPEATABLE READ', poolclass="))
    assert env.read_text() != text
    with database.connect() as other:
        other.execute("UPDATE busy SET name = 'z' WHERE id = 1")
        process = start(folder, driver=driver, LOCKGATE_DDL_LOCK_TIMEOUT="60s")
        eventually(lambda: database.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        other.commit()
    result = process.end()

    assert (result.code, result.reason, result.report.attempts) == (0, "Migrated", 2), result.output
    assert any("serialization failure" in event.get("waiting_for", "") for event in result.progress), result.output
    assert database.value("SELECT name FROM busy WHERE id = 1") == "zy"


def test_only_the_statement_that_stops_nobody_waits_without_limit(run, project, database):
    folder = project("alters")
    revise(
        folder,
        "    with op.get_context().autocommit_block():\n"
        "        op.execute('CREATE INDEX CONCURRENTLY busy_name ON busy (name)')\n"
        "        op.execute(\"CREATE TABLE seen AS SELECT current_setting('lock_timeout') AS t\")\n"
        "    op.execute(\"INSERT INTO seen SELECT current_setting('lock_timeout')\")\n",
    )

    result = run(folder, LOCKGATE_DDL_LOCK_TIMEOUT="600ms")

    assert result.code == 0, result.output
    assert database.rows("SELECT t FROM seen") == [("123ms",), ("123ms",)]  # a fifth of it at first
