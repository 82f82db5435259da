"""The lock, with whole runners: at once, one after another, and killed. What every lock keeps: test_lock_contract."""

from __future__ import annotations

import signal

import pytest

pytestmark = pytest.mark.each_postgres


def test_ten_runners_at_once_apply_each_revision_once_and_none_fails(start, project, database):
    folder = project("sync")
    results = [process.end() for process in [start(folder) for _ in range(10)]]

    assert [result.code for result in results] == [0] * 10, "".join(result.output for result in results)
    assert sorted(result.reason for result in results) == ["Migrated", *["NothingToDo"] * 9]
    assert database.value("SELECT count(*) FROM lockgate.history") == 4


def test_who_waits_says_who_holds_the_lock(start, project, eventually):
    folder = project("slow")
    first = start(folder, SLOW_SECONDS="60", LOCKGATE_RESOURCE="shop/shop", LOCKGATE_POD="shop-7c")
    eventually(lambda: any("2/2 s2" in line for line in first.lines))

    second = start(folder, SLOW_SECONDS="0")
    eventually(lambda: any("which runs SELECT pg_sleep" in line for line in second.lines))
    first.send(signal.SIGTERM)
    result = second.end()

    assert first.end().code == 30
    assert (result.code, result.reason) == (0, "Migrated"), result.output
    waits = [event["waiting_for"] for event in result.progress if event["event"] == "waiting"]
    assert "lock held by pid" in waits[0]
    assert "lockgate shop/shop shop-7c leader" in waits[0]
    assert result.report.lock_wait_seconds > 0


def test_who_waits_longer_than_allowed_ends_with_lock_busy(start, run, project, eventually):
    folder = project("slow")
    first = start(folder, SLOW_SECONDS="60")
    eventually(lambda: any("2/2 s2" in line for line in first.lines))

    result = run(folder, "migrate", "--lock-wait", "300ms")

    assert (result.code, result.reason, result.report.retryable) == (10, "LockBusy", True), result.output


def test_a_runner_killed_inside_a_revision_leaves_it_to_the_next_which_applies_it_once(
    start, run, project, database, eventually
):
    folder = project("slow")
    first = start(folder, SLOW_SECONDS="30")
    eventually(lambda: database.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(30)%'"))

    first.send(signal.SIGKILL)
    result = run(folder, SLOW_SECONDS="0")

    assert first.end().code == -signal.SIGKILL
    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert [step.revision for step in result.report.applied] == ["s2"]
    assert database.rows("SELECT n FROM counted") == [(1,)]
    assert database.rows("SELECT revision FROM lockgate.history ORDER BY id") == [("s1",), ("s2",)]


def test_a_runner_whose_session_is_ended_inside_a_revision_tries_it_again(start, project, database, eventually):
    process = start(project("slow"), SLOW_SECONDS="2")
    sleeping = "FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(2)%'"
    eventually(lambda: database.value(f"SELECT count(*) {sleeping}"))

    database.rows(f"SELECT pg_terminate_backend(pid) {sleeping}")
    result = process.end()

    assert (result.code, result.report.attempts) == (0, 2), result.output
    assert database.rows("SELECT n FROM counted") == [(1,)]


def test_a_runner_that_loses_all_its_sessions_begins_again(start, project, database, eventually):
    process = start(project("slow"), SLOW_SECONDS="2")
    eventually(lambda: database.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(2)%'"))

    database.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'lockgate%'")
    result = process.end()

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert database.rows("SELECT n FROM counted") == [(1,)]
    assert database.value("SELECT count(*) FROM lockgate.history") == 2
