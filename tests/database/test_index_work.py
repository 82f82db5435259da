"""CREATE INDEX CONCURRENTLY and REINDEX CONCURRENTLY of a revision can be done again, whatever ended them before."""

from __future__ import annotations

import contextlib
import signal

import psycopg
import pytest

pytestmark = pytest.mark.each_postgres

VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{}')"
AT_WORK = "SELECT pid FROM pg_stat_progress_create_index WHERE datname = current_database()"


@pytest.fixture
def writer(database):
    """Open a session whose transaction writes when told to, so that index builds wait for it."""
    connection = database.connect()
    yield connection
    connection.close()


@pytest.fixture
def items(database):
    """Make what the first revision makes, as if it had been applied."""
    database.rows("CREATE TABLE items (id integer PRIMARY KEY, email text)")
    database.rows("INSERT INTO items SELECT n, 'a' || n FROM generate_series(1, 60) AS n")
    database.rows("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    database.rows("INSERT INTO alembic_version VALUES ('x1')")


def make_invalid(database, name, table="items"):
    with contextlib.suppress(psycopg.errors.UniqueViolation):
        database.rows(f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ((1))")
    assert database.value(VALID.format(name)) is False


def at_work(database, eventually):
    """Return the pid of the build once its index is there, and it waits for the writer."""
    return eventually(lambda: database.rows(f"{AT_WORK} AND phase LIKE 'waiting for writers%'"))[0][0]


def test_the_run_after_one_that_was_killed_builds_the_index_again_and_no_other(
    start, run, project, database, items, writer, eventually
):
    folder, work = (
        project("index_work"),
        'CREATE INDEX CONCURRENTLY IF NOT EXISTS "items_email" ON public . items (email)',
    )
    make_invalid(database, "items_of_somebody")
    writer.execute("INSERT INTO items VALUES (1000, 'new')")
    process = start(folder, WORK=work)
    at_work(database, eventually)
    process.send(signal.SIGKILL)
    process.end()
    eventually(lambda: not database.rows(AT_WORK))
    writer.rollback()
    assert database.value(VALID.format("items_email")) is False

    result = run(folder, WORK=work)

    assert (result.code, result.reason, result.report.attempts) == (0, "Migrated", 1), result.output
    assert result.report.warnings == ("Dropped what an earlier try left invalid: public.items_email.",)
    assert database.value(VALID.format("items_email")) is True
    assert database.value(VALID.format("items_of_somebody")) is False


@pytest.mark.parametrize(("style", "driver"), [("index_work", "psycopg2"), ("index_work_async", "asyncpg")])
def test_a_build_whose_session_is_lost_is_repeated_in_the_same_run(
    style, driver, start, run, project, database, items, writer, eventually
):
    folder = project(style)
    writer.execute("INSERT INTO items VALUES (1000, 'new')")
    process = start(folder, driver=driver)

    database.rows(f"SELECT pg_terminate_backend({at_work(database, eventually)})")
    eventually(lambda: any('"clearing"' in line for line in process.lines))
    writer.rollback()
    result = process.end()

    assert (result.code, result.reason, result.report.attempts) == (0, "Migrated", 2), result.output
    assert database.value(VALID.format("items_email")) is True


def test_a_build_that_met_duplicates_is_repeated_once_they_are_gone(run, project, database, items):
    folder = project("index_work")
    database.rows("INSERT INTO items VALUES (1000, 'a1')")
    failed = run(folder)
    assert (failed.code, failed.reason) == (20, "MigrationFailed"), failed.output
    assert "is dropped by the next try" in failed.report.message
    assert "rolled back" not in failed.report.message
    database.rows("DELETE FROM items WHERE id = 1000")

    result = run(folder)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert database.value(VALID.format("items_email")) is True


def test_an_index_that_is_valid_is_never_dropped(run, project, database, items):
    folder = project("index_work")
    database.rows("CREATE INDEX items_email ON items (id)")
    before = database.value("SELECT CAST('items_email'::regclass AS oid)")

    result = run(folder)

    assert (result.code, result.report.failure.sqlstate) == (20, "42P07"), result.output
    assert database.value("SELECT CAST('items_email'::regclass AS oid)") == before


def test_an_index_that_somebody_builds_right_now_is_left_to_them(run, project, database, items, writer, eventually):
    folder = project("index_work")
    writer.execute("INSERT INTO items VALUES (1000, 'new')")
    with contextlib.closing(database.connect(autocommit=True)) as person:
        # A person's build, under way for as long as the writer writes.
        person.pgconn.send_query(b"CREATE INDEX CONCURRENTLY items_email ON items (email)")
        at_work(database, eventually)

        result = run(folder, "migrate", "--ddl-lock-attempts", "2")

        assert (result.code, result.reason) == (12, "DatabaseBusy"), result.output
        assert f"pid {person.info.backend_pid}) builds the index public.items_email" in result.report.message
        writer.rollback()
        eventually(lambda: database.value(VALID.format("items_email")))


@pytest.mark.parametrize("others", [["somebody_ccnew"], []])
def test_what_a_killed_reindex_left_is_dropped_and_what_was_there_before_stays(
    others, start, run, project, database, items, writer, eventually
):
    folder, work = project("index_work"), "REINDEX TABLE CONCURRENTLY items"
    for name in others:
        make_invalid(database, name)
    writer.execute("INSERT INTO items VALUES (1000, 'new')")
    process = start(folder, WORK=work)
    eventually(lambda: database.value("SELECT to_regclass('items_pkey_ccnew') IS NOT NULL"))
    process.send(signal.SIGKILL)
    process.end()
    eventually(lambda: not database.rows(AT_WORK))
    writer.rollback()
    assert database.value(VALID.format("items_pkey_ccnew")) is False

    result = run(folder, WORK=work)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert database.value("SELECT to_regclass('items_pkey_ccnew') IS NULL")
    assert database.rows("SELECT relname FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE NOT indisvalid") == [
        (name,) for name in others
    ]
    assert database.value("SELECT count(*) FROM lockgate.index_work") == 0


def test_the_progress_of_a_build_is_told_in_percent(run, project, database, items):
    folder = project("index_work")
    database.rows(
        "CREATE FUNCTION slow(text) RETURNS text IMMUTABLE LANGUAGE plpgsql"
        " AS $$ BEGIN PERFORM pg_catalog.pg_sleep(0.03); RETURN $1; END $$"
    )
    database.rows("ALTER TABLE items ALTER email SET STORAGE PLAIN")
    database.rows("UPDATE items SET email = repeat('x', 1500) || id")

    result = run(folder, WORK="CREATE INDEX CONCURRENTLY items_slow ON items ((length(slow(email))))")

    assert result.code == 0, result.output
    told = [event["percent"] for event in result.progress if event.get("percent") is not None]
    assert any(0 < percent < 100 for percent in told), result.output
    assert all(0 <= percent <= 100 for percent in told), told
