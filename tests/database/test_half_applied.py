"""A revision that committed in the middle and then failed: it is said exactly, and never repeated blindly."""

from __future__ import annotations

import signal

import pytest

pytestmark = pytest.mark.each_postgres

ADDED = "ALTER TABLE people ADD COLUMN age integer"
INDEXED = "CREATE UNIQUE INDEX CONCURRENTLY accounts_email ON accounts (email)"
BUILDING = "SELECT pid FROM pg_stat_progress_create_index WHERE datname = current_database()"


@pytest.mark.parametrize(("style", "driver"), [("halves", "psycopg2"), ("halves_async", "asyncpg")])
def test_what_is_committed_is_said_exactly(style, driver, run, project, database):
    result = run(project(style), driver=driver)

    report = result.report
    assert (result.code, result.reason, report.retryable) == (20, "HalfApplied", False), result.output
    assert report.failure.committed == (ADDED, INDEXED)
    assert f"(1) {ADDED} (2) {INDEXED}." in report.message
    assert "h2.py:" in report.message
    assert "division by zero" in report.message
    assert "alembic_version still says h1." in report.message
    assert "alembic stamp h2" in report.message
    assert database.value("SELECT to_regclass('more') IS NULL")


def test_a_failure_that_may_pass_is_not_tried_again_where_something_is_committed(
    start, run, project, database, eventually
):
    folder = project("halves")
    run(folder, "migrate", "--target", "h1")
    with database.connect() as writer:
        process = start(folder, driver="psycopg2", HOW="commit")
        writer.execute("INSERT INTO accounts VALUES (3, 'c')")
        builder = eventually(lambda: database.rows(BUILDING))[0][0]
        database.rows(f"SELECT pg_terminate_backend({builder})")

        result = process.end()

    assert (result.code, result.reason, result.report.attempts) == (20, "HalfApplied", 1), result.output
    assert result.report.failure.committed == (ADDED,)
    assert database.rows("SELECT version_num FROM alembic_version") == [("h1",)]


def test_a_signal_after_a_commit_in_the_middle_does_not_let_the_next_pod_repeat_it(
    start, run, project, database, eventually
):
    folder = project("halves")
    run(folder, "migrate", "--target", "h1")
    with database.connect() as writer:
        process = start(folder)
        writer.execute("INSERT INTO accounts VALUES (3, 'c')")
        eventually(lambda: database.rows(BUILDING))
        process.send(signal.SIGTERM)

        result = process.end()

    assert (result.code, result.reason) == (20, "HalfApplied"), result.output
    assert ADDED in result.report.message
    assert "SIGTERM" in result.report.message


def test_a_revision_that_was_edited_after_it_was_applied_is_named_and_nothing_fails(run, project):
    folder = project("sync")
    run(folder)
    edited = folder.parent / "revisions" / "r2.py"
    edited.write_text(edited.read_text() + "\n# as if somebody had thought again\n")

    result = run(folder)

    assert (result.code, result.reason) == (0, "NothingToDo"), result.output
    (warning,) = result.report.warnings
    assert warning.startswith("Changed after being applied: r2.")
