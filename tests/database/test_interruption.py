"""SIGTERM, SIGINT and the run's time-out: what runs is cancelled and rolled back, also inside a long statement."""

from __future__ import annotations

import signal

import pytest

pytestmark = pytest.mark.each_postgres

SLEEPING = "FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND state = 'active'"


@pytest.mark.parametrize(
    ("style", "driver", "number"),
    [
        ("slow", "psycopg", signal.SIGTERM),
        ("slow", "psycopg2", signal.SIGTERM),
        ("slow", "psycopg", signal.SIGINT),
        ("slow_async", "asyncpg", signal.SIGTERM),
        ("slow_worker_thread", "asyncpg", signal.SIGTERM),
        ("stubborn", "psycopg2", signal.SIGTERM),
    ],
)
def test_a_signal_ends_a_long_statement_and_leaves_nothing_behind(
    style, driver, number, start, project, database, eventually
):
    process = start(project(style), driver=driver, SLOW_SECONDS="60")
    eventually(lambda: database.value(f"SELECT count(*) {SLEEPING}"))

    process.send(number)
    result = process.end(timeout=25)

    assert (result.code, result.reason) == (30, "Interrupted"), result.output
    assert result.report.outcome == "Interrupted"
    assert "It was at 2/2 s2" in result.report.message
    eventually(lambda: database.value(f"SELECT count(*) = 0 {SLEEPING}"))
    assert database.rows("SELECT version_num FROM alembic_version") == [("s1",)]
    assert database.value("SELECT count(*) FROM counted") == 0
    eventually(lambda: database.advisory_locks() == 0)


def test_a_signal_ends_a_runner_that_waits_for_the_lock(start, project, database, eventually):
    folder = project("slow")
    first = start(folder, SLOW_SECONDS="60")
    eventually(lambda: database.value(f"SELECT count(*) {SLEEPING}"))
    second = start(folder)
    eventually(lambda: any('"waiting"' in line for line in second.lines))

    second.send(signal.SIGTERM)

    assert second.end(timeout=10).code == 30
    first.send(signal.SIGTERM)
    assert first.end(timeout=25).code == 30


def test_a_run_that_takes_too_long_is_cancelled_and_fails_for_good(run, project, database):
    result = run(project("slow"), "migrate", "--run-timeout", "6s", driver="psycopg2", SLOW_SECONDS="60")

    report = result.report
    assert (result.code, result.reason, report.retryable) == (20, "RunTimeout", False), result.output
    assert "longer than 6s" in report.message
    assert database.rows("SELECT version_num FROM alembic_version") == [("s1",)]
