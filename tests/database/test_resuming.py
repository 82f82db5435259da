"""A revision left in the middle, also by SIGKILL: it is said exactly, and continued where that is asked for."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest

RESUME = {"LOCKGATE_HALF_APPLIED": "Resume"}
WORDS = ["by itself", "first", "second", "third"]
BUILDING = "SELECT pid FROM pg_stat_progress_create_index WHERE datname = current_database()"
FIRST = "INSERT INTO words VALUES ('***')"  # as it is shown: literals are values
PLACES = [
    ("before any commit", 0),
    ("in a block", 2),
    ("after a statement of a block", 3),
    ("after the index", 4),
    ("at the end", 4),
]


def is_finished(database):
    assert sorted(row[0] for row in database.rows("SELECT word FROM words")) == WORDS
    assert database.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'words_word'::regclass") is True
    assert database.rows("SELECT length FROM words LIMIT 1") == [(None,)]
    assert database.rows("SELECT version_num FROM alembic_version") == [("k2",)]
    assert database.rows("SELECT revision FROM lockgate.history ORDER BY id") == [("k1",), ("k2",)]
    assert database.value("SELECT count(*) FROM lockgate.statements") == 0
    assert database.advisory_locks() == 0


@pytest.mark.parametrize(
    ("style", "driver"),
    [("resumed", "psycopg"), ("resumed", "psycopg2"), ("resumed_async", "asyncpg"), ("resumed_async", "psycopg")],
)
@pytest.mark.parametrize(("place", "committed"), PLACES)
def test_after_sigkill_every_statement_has_run_once(style, driver, place, committed, run, project, database):
    folder = project(style)
    killed = run(folder, driver=driver, DIE_AT=place)
    assert killed.code == -9
    assert database.value("SELECT count(*) FROM lockgate.statements") == committed

    result = run(folder, driver=driver, **RESUME)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    is_finished(database)
    expected = (
        f"Continued k2 behind {committed} statement{'' if committed == 1 else 's'} that an earlier try had committed."
    )
    assert (expected in result.report.warnings) == bool(committed)


OLDEST = ("alembic==1.8.1", "sqlalchemy==1.4.54", "psycopg2-binary>=2.9.10", "asyncpg>=0.30", "greenlet>=3.2")
"""As in test_real_images.py, so that they share the environment."""


@pytest.mark.parametrize(("style", "driver"), [("resumed", "psycopg2"), ("resumed_async", "asyncpg")])
def test_the_oldest_alembic_and_sqlalchemy_resume_the_same(style, driver, environment, run, project, database):
    folder, python = project(style), str(environment(*OLDEST))
    for place, committed in PLACES[1:]:
        killed = run(folder, driver=driver, python=python, DIE_AT=place, **RESUME)
        assert killed.code == -9, killed.output
        assert database.value("SELECT count(*) FROM lockgate.statements") == committed

    result = run(folder, driver=driver, python=python, **RESUME)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    is_finished(database)


@pytest.mark.parametrize(("style", "driver"), [("resumed", "psycopg2"), ("resumed_async", "asyncpg")])
def test_a_lost_connection_in_the_second_half_is_no_end_where_the_run_may_resume(
    style, driver, start, run, project, database, eventually
):
    folder = project(style)
    run(folder, "migrate", "--target", "k1", driver=driver)
    with database.connect() as somebody:
        somebody.execute("INSERT INTO words VALUES ('of somebody')")  # the build of the index waits for this
        process = start(folder, driver=driver, **RESUME)
        builder = eventually(lambda: database.rows(BUILDING))[0][0]
        database.rows(f"SELECT pg_terminate_backend({builder})")
        somebody.rollback()

        result = process.end()

    assert (result.code, result.reason, result.report.attempts) == (0, "Migrated", 2), result.output
    is_finished(database)


def test_without_being_asked_the_next_run_stops_and_says_what_is_committed(run, project, database):
    folder = project("resumed")
    run(folder, DIE_AT="after the index")

    result = run(folder)

    report = result.report
    assert (result.code, result.reason, report.retryable) == (20, "HalfApplied", False), result.output
    assert f"Committed: (1) {FIRST} (2) INSERT INTO words" in report.message
    assert "(4) CREATE INDEX CONCURRENTLY words_word ON words (word)." in report.message
    assert "public.alembic_version still says k1. Nothing was done." in report.message
    assert "alembic stamp k2" in report.message
    assert "--half-applied Resume" in report.message
    assert "DELETE FROM lockgate.statements WHERE revision = 'k2'" in report.message
    assert (report.failure.revision, report.failure.committed[0]) == ("k2", FIRST)
    assert database.value("SELECT count(*) FROM words") == 4


def test_status_and_plan_name_a_revision_that_was_left_in_the_middle(run, project, database):
    folder = project("resumed")
    run(folder, "migrate", "--target", "k1")
    before = run(folder, "status")
    run(folder, DIE_AT="in a block")

    after, said = run(folder, "status"), run(folder, "status", "--output", "plain")

    assert json.loads(before.output.splitlines()[-1])["status"]["half_applied"] == []
    assert json.loads(after.output.splitlines()[-1])["status"]["half_applied"] == [{"revision": "k2", "committed": 2}]
    assert "half applied   k2, 2 statements of it committed" in said.output
    plan = json.loads(run(folder, "plan").output.splitlines()[-1])
    assert plan["warnings"][0].startswith("k2 is half applied: 2 statements of it committed.")


def test_the_ways_out_that_are_named_are_ways_out(run, project, database):
    folder = project("resumed")
    run(folder, DIE_AT="in a block")
    database.rows("DELETE FROM words")
    database.rows("DELETE FROM lockgate.statements WHERE revision = 'k2'")
    assert run(folder, DIE_AT="after the index").code == -9
    database.rows("ALTER TABLE words ADD COLUMN length integer")
    database.rows("UPDATE alembic_version SET version_num = 'k2'")

    result = run(folder)

    assert (result.code, result.reason) == (0, "NothingToDo"), result.output


@pytest.mark.parametrize("place", ["after a commit", "in a loop"])
def test_a_revision_that_commits_by_itself_gets_the_row_counts_that_it_had(place, run, project, database):
    folder = project("resumed_commits")
    assert run(folder, STYLE="commits", DIE_AT=place).code == -9

    result = run(folder, STYLE="commits", **RESUME)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert database.value("SELECT count(*) FROM words WHERE seen") == 3
    is_finished(database)


def test_a_failure_in_the_second_half_is_continued_by_the_next_run(run, project, database):
    folder = project("resumed")
    failed = run(folder, FAIL_AT="at the end", **RESUME)
    assert (failed.code, failed.reason, len(failed.report.failure.committed)) == (20, "HalfApplied", 4), failed.output

    result = run(folder, **RESUME)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    is_finished(database)


@pytest.mark.parametrize(
    ("style", "driver"), [("resumed", "psycopg"), ("resumed", "psycopg2"), ("resumed_async", "asyncpg")]
)
@pytest.mark.parametrize("wrong", ["INSERT INTO words VALUES (NULL)", "VACUUM nothing", "SELECT 1 / 0"])
def test_a_statement_of_a_block_that_fails_is_not_taken_for_committed(style, driver, wrong, run, project, database):
    folder = project(style)
    failed = run(folder, driver=driver, WRONG=wrong)
    assert (failed.code, failed.reason, len(failed.report.failure.committed)) == (20, "HalfApplied", 3), failed.output
    assert database.rows("SELECT position, state FROM lockgate.statements ORDER BY position")[:3] == [
        (position, "done") for position in (1, 2, 3)
    ]

    result = run(folder, driver=driver, **RESUME)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    is_finished(database)


def test_a_revision_that_sends_something_else_by_now_is_not_continued(run, project, database):
    folder = project("resumed")
    run(folder, DIE_AT="after the index")

    result = run(folder, WORD="another", **RESUME)

    assert (result.code, result.reason) == (20, "HalfApplied"), result.output
    assert (
        "cannot be continued: at the place of a statement that is committed it sends another" in result.report.message
    )
    assert "another" not in [row[0] for row in database.rows("SELECT word FROM words")]
    assert database.value("SELECT count(*) FROM lockgate.statements") == 4


def test_an_index_whose_build_nobody_saw_end_is_kept_if_it_is_valid_and_built_if_it_is_not_there(
    run, project, database
):
    folder = project("resumed")
    run(folder, DIE_AT="after the index")
    started = "UPDATE lockgate.statements SET state = 'started' WHERE statement LIKE 'CREATE INDEX%'"
    database.rows(started)
    before = database.value("SELECT CAST('words_word'::regclass AS oid)")

    run(folder, DIE_AT="at the end", **RESUME)

    assert database.value("SELECT CAST('words_word'::regclass AS oid)") == before
    database.rows("DROP INDEX words_word")
    database.rows(started)
    result = run(folder, **RESUME)
    assert (result.code, result.reason) == (0, "Migrated"), result.output
    is_finished(database)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("state = 'started', statement = 'CALL something()'", "Nobody can tell whether this one was done: CALL some"),
        ("returned_rows = true", "This one returned rows, or came after a query; the revision may go by those: INSERT"),
    ],
)
def test_what_cannot_be_known_is_left_to_a_person(change, why, run, project, database):
    folder = project("resumed")
    run(folder, DIE_AT="in a block")
    database.rows(f"UPDATE lockgate.statements SET {change} WHERE position = 2")

    result = run(folder, **RESUME)

    assert (result.code, result.reason) == (20, "HalfApplied"), result.output
    assert f"It cannot be continued. {why}" in result.report.message


def test_a_revision_with_one_transaction_records_nothing(run, project, database):
    run(project("alters"))

    assert database.value("SELECT count(*) FROM alembic_version") == 1
    assert database.value("SELECT pg_relation_size('lockgate.statements')") == 0


def test_a_role_that_may_not_record_it_is_warned(run, project, database):
    folder, role = project("resumed"), f"{database.name}_role"
    run(folder, "migrate", "--target", "k1")
    database.rows(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    try:
        database.rows(f"GRANT USAGE ON SCHEMA lockgate TO {role}")
        database.rows(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA lockgate TO {role}")
        database.rows(f"REVOKE INSERT ON lockgate.statements FROM {role}")
        database.rows(f"GRANT ALL ON SCHEMA public TO {role}")
        database.rows(f"ALTER TABLE words OWNER TO {role}")
        database.rows(f"ALTER TABLE alembic_version OWNER TO {role}")
        parts = urlsplit(database.url())

        result = run(folder, url=parts._replace(netloc=f"{role}:x@{parts.hostname}:{parts.port}").geturl())

        assert (result.code, result.reason) == (0, "Migrated"), result.output
        assert any("k2 committed in the middle" in warning for warning in result.report.warnings)
        assert database.rows("SELECT version_num FROM alembic_version") == [("k2",)]
    finally:
        database.rows(f"DROP OWNED BY {role}")
        database.rows(f"DROP ROLE {role}")


def test_a_downgrade_that_was_killed_is_continued_too(run, project, database):
    folder, back = project("resumed"), ("downgrade", "k1", "--downgrade", "Allow")
    run(folder)
    assert run(folder, *back, DIE_AT="on the way back").code == -9

    stopped, resumed = run(folder, *back), run(folder, *back, **RESUME)

    assert (stopped.code, stopped.reason) == (20, "HalfApplied"), stopped.output
    assert "ALTER TABLE words DROP COLUMN length (2) DROP INDEX CONCURRENTLY words_word." in stopped.report.message
    assert (resumed.code, resumed.reason, resumed.report.reached) == (0, "Downgraded", ("k1",)), resumed.output
    assert database.value("SELECT count(*) FROM words") == 0
    assert database.value("SELECT count(*) FROM lockgate.statements") == 0
