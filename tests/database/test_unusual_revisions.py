"""Revisions and env files that are rare, and that `alembic upgrade` gets along with: so does `lockgate migrate`."""

from __future__ import annotations

import os

import pytest

DRIVERS = [("sync", "psycopg"), ("sync", "psycopg2"), ("async", "asyncpg")]
HERE = pytest.mark.skipif("LOCKGATE_TEST_POSTGRES_URL" in os.environ, reason="the server's settings are somebody's own")
VACUUMED = """
CREATE TABLE big (id int, t text) WITH (autovacuum_enabled = off, autovacuum_vacuum_cost_delay = 100,
    autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 10, autovacuum_vacuum_scale_factor = 0);
INSERT INTO big SELECT n, repeat('x', 200) FROM generate_series(1, 60000) AS n;
DELETE FROM big WHERE mod(id, 2) = 0;
ALTER TABLE big SET (autovacuum_enabled = on)
"""
"""A table for which autovacuum has work for hours."""


@pytest.fixture
def env_of(project):
    """Return the env.py of a miniature project."""
    return lambda style: (project(style) / "migrations" / "env.py").read_text()


@pytest.fixture
def hasty_autovacuum(database):
    """Have autovacuum look for work each second."""
    database.rows("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    database.rows("SELECT pg_reload_conf()")
    yield
    database.rows("ALTER SYSTEM RESET autovacuum_naptime")
    database.rows("SELECT pg_reload_conf()")


@pytest.mark.parametrize(("style", "driver"), DRIVERS)
def test_a_revision_may_forget_all_prepared_statements(style, driver, written, env_of, run, database):
    tables = [f"op.execute('CREATE TABLE t{number} ()')" for number in range(7)]  # psycopg prepares what comes often

    result = run(written(*tables, "op.execute('DEALLOCATE ALL')", "pass", env=env_of(style)), "migrate", driver=driver)

    assert (result.code, result.report.reached) == (0, ("n9",)), result.output
    assert database.rows("SELECT count(*) FROM lockgate.history") == [(9,)]


@HERE
def test_an_autovacuum_in_the_way_is_cancelled_as_for_anybody_who_waits_long_enough(
    hasty_autovacuum, written, run, database, eventually
):
    for statement in VACUUMED.split(";"):
        database.rows(statement)
    at_work = "SELECT pid FROM pg_stat_progress_vacuum WHERE datname = current_database()"
    eventually(lambda: database.rows(at_work), timeout=60)

    result = run(written("op.execute('ALTER TABLE big ADD COLUMN x int')"), "migrate")

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert any("autovacuum" in progress.get("waiting_for", "") for progress in result.progress), result.output


@pytest.mark.parametrize(("style", "driver"), DRIVERS)
def test_what_an_autocommit_block_is_for_is_not_put_into_a_transaction(style, driver, written, env_of, run, database):
    folder = written(
        "op.execute('CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE a (); COMMIT; END $$')",
        """
with op.get_context().autocommit_block():
    op.execute('DO $$ BEGIN CALL p(); END $$')
""",
        env=env_of(style),
    )

    result = run(folder, "migrate", driver=driver)

    assert (result.code, result.report.reached) == (0, ("n2",)), result.output
    assert database.rows("SELECT to_regclass('a')") == [("a",)]


def test_a_body_that_says_commit_has_committed_nothing(written, database, tried_again_behind_a_reader):
    database.rows("CREATE TABLE a ()")
    folder = written(
        "op.execute('CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; COMMIT; END $$')\n"
        "op.execute('ALTER TABLE a ADD COLUMN b integer')"
    )

    result = tried_again_behind_a_reader(folder)

    assert (result.code, result.reason) == (0, "Migrated"), result.output


@pytest.mark.parametrize(("style", "driver"), DRIVERS)
def test_a_revision_may_move_the_version_table(style, driver, written, env_of, run, database):
    database.rows(f"ALTER DATABASE {database.name} SET search_path = app, public")
    folder = written(
        "op.execute('CREATE TABLE a ()')",
        "op.execute('CREATE SCHEMA app')\nop.execute('ALTER TABLE alembic_version SET SCHEMA app')",
        "op.execute('CREATE TABLE b ()')",
        env=env_of(style),
    )

    first, again = (run(folder, "migrate", driver=driver) for _ in range(2))

    assert (first.code, first.reason, first.report.reached) == (0, "Migrated", ("n3",)), first.output
    assert (again.code, again.reason) == (0, "NothingToDo"), again.output


def test_a_login_that_inherits_nothing_may_work_as_the_owner(written, run, database):
    owner, login = f"owner_{os.getpid()}", f"login_{os.getpid()}"
    env = f"""
import os

from alembic import context
from sqlalchemy import create_engine, pool, text

with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool).connect() as connection:
    connection.execute(text("SET ROLE {owner}"))
    connection.commit()
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
    database.rows(f"CREATE ROLE {owner}")
    database.rows(f"CREATE ROLE {login} LOGIN NOINHERIT PASSWORD 'x' IN ROLE {owner}")
    database.rows(f"GRANT ALL ON SCHEMA public TO {owner}")
    url = f"postgresql+psycopg://{login}:x@{database.url().partition('@')[2]}"
    try:
        folder = written("op.execute('CREATE TABLE a ()')", "op.execute('CREATE TABLE b ()')", env=env)

        first, again = (run(folder, "migrate", url=url) for _ in range(2))

        assert (first.code, first.reason, first.report.reached) == (0, "Migrated", ("n2",)), first.output
        assert (again.code, again.reason) == (0, "NothingToDo"), again.output
    finally:
        database.rows(f"DROP OWNED BY {owner}, {login}")
        database.rows(f"DROP ROLE {login}, {owner}")


@pytest.mark.parametrize(
    ("driver", "arguments"),
    [
        ("psycopg", '{"row_factory": __import__("psycopg").rows.namedtuple_row}'),
        ("psycopg2", '{"cursor_factory": __import__("psycopg2.extras").extras.NamedTupleCursor}'),
    ],
)
def test_an_env_file_may_ask_for_rows_with_names(driver, arguments, written, run):
    env = f"""
import os

from alembic import context
from sqlalchemy import create_engine, pool

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool, connect_args={arguments})
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
    result = run(written("op.execute('CREATE TABLE a ()')", "pass", env=env), "migrate", driver=driver)

    assert (result.code, result.report.reached) == (0, ("n2",)), result.output


def test_a_pause_that_the_server_ends_says_how_to_make_one(written, run):
    pause = "SET LOCAL idle_in_transaction_session_timeout = 100"

    result = run(written(f"import time\nop.execute('{pause}')\ntime.sleep(1)\nop.execute('SELECT 1')"), "migrate")

    assert (result.code, result.report.failure.sqlstate) == (20, "25P03"), result.output
    assert "idle_in_transaction_session_timeout = 0" in result.report.message


def test_what_a_large_revision_sends_is_not_kept_in_memory(written, run):
    sends = """
import resource
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
op.execute('CREATE TABLE a (b text)')
for number in range(80):
    op.get_bind().exec_driver_sql(f"INSERT INTO a VALUES ('{str(number)[0] * 5_000_000}')")
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000, 'kB; half of it is the driver'
"""
    result = run(written(sends), "migrate")

    assert (result.code, result.reason) == (0, "Migrated"), result.output
