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
