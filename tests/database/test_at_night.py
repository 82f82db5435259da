"""Env files and revisions that do what they should not: nothing is done by halves, nothing is guessed."""

from __future__ import annotations

import os
import signal

import pytest

RESUME = {"LOCKGATE_HALF_APPLIED": "Resume"}


SWALLOWS = """
import os

from alembic import context
from sqlalchemy import create_engine, pool

with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool).begin() as connection:
    context.configure(connection=connection)
    try:
        context.run_migrations()
    except Exception:
        print("never mind")
"""


@pytest.mark.parametrize("failure", ["raise ValueError('no')", "op.execute('SELECT pg_advisory_unlock_all()')"])
def test_an_env_file_cannot_commit_what_is_left_of_a_revision(failure, written, run, database):
    folder = written("op.execute('CREATE TABLE a ()')", f"op.execute('CREATE TABLE b ()')\n{failure}", env=SWALLOWS)

    result = run(folder, "migrate", "--ddl-lock-attempts", "2")

    assert result.code in (11, 20), result.output
    assert result.report.reached == ()
    assert database.rows("SELECT to_regclass('a'), to_regclass('b')") == [(None, None)]
    assert database.rows("SELECT revision FROM lockgate.history") == []


@pytest.mark.parametrize(
    "gives_back",
    [
        "op.execute('SELECT pg_advisory_unlock_all()')",
        """
with op.get_context().autocommit_block():
    op.execute('DISCARD ALL')
""",
    ],
)
def test_a_revision_that_gives_back_its_lock_is_named_and_not_tried_again(gives_back, written, run, database):
    folder = written("op.execute('CREATE TABLE a ()')", f"{gives_back.strip()}\nop.execute('CREATE TABLE b ()')")

    result = run(folder, "migrate")

    assert (result.code, result.reason, result.report.attempts) == (20, "MigrationFailed", 1), result.output
    assert "Revision n2 gave back the lock" in result.report.message
    assert database.rows("SELECT to_regclass('a'), to_regclass('b')") == [("a", None)]


@pytest.mark.parametrize("keeps", ["", "sys.modules.setdefault('kept', []).append(connection)"])
def test_a_session_that_env_py_never_closes_does_not_keep_the_next_attempt_waiting(
    keeps, written, database, tried_again_behind_a_reader
):
    env = f"""
import os
import sys

from alembic import context
from sqlalchemy import create_engine

connection = create_engine(os.environ["DATABASE_URL"]).connect()
{keeps}
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
"""
    database.rows("CREATE TABLE a ()")
    folder = written("op.execute('ALTER TABLE a ADD COLUMN b integer')", env=env)
    result = tried_again_behind_a_reader(folder)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert database.advisory_locks() == 0


def test_a_revision_that_went_by_what_it_had_read_is_not_continued(written, run, database):
    database.rows("CREATE TABLE t AS SELECT 10 AS id")
    folder = written(
        """
newest = op.get_bind().execute(sa.text('SELECT max(id) FROM t')).scalar()
with op.get_context().autocommit_block():
    op.execute('INSERT INTO t SELECT max(id) + 1 FROM t')
if os.environ.get('FAIL'):
    raise ValueError('no')
op.execute(f'CREATE TABLE found AS SELECT {newest} AS newest')
""",
    )
    run(folder, FAIL="1")

    result = run(folder, **RESUME)

    assert (result.code, result.reason) == (20, "HalfApplied"), result.output
    assert "or came after a query" in result.report.message
    assert database.value("SELECT count(*) FROM t") == 2


def test_an_index_that_somebody_dropped_after_a_failure_is_built_again(written, run, database):
    database.rows("CREATE TABLE t (a integer, b integer)")
    folder = written(
        """
with op.get_context().autocommit_block():
    op.execute('CREATE INDEX CONCURRENTLY t_a ON t (a)')
    op.execute('CREATE INDEX CONCURRENTLY t_b_new ON t (b)')
    op.execute('ALTER INDEX t_b_new RENAME TO t_b')
    if os.environ.get('FAIL'):
        raise ValueError('no')
""",
    )
    run(folder, FAIL="1")
    database.rows("DROP INDEX t_a")

    result = run(folder, **RESUME)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    indexes = database.rows("SELECT indexname FROM pg_indexes WHERE tablename = 't' ORDER BY 1")
    assert indexes == [("t_a",), ("t_b",)]


def test_a_revision_that_declares_locks_is_continued_like_any_other(written, run, database):
    database.rows("CREATE TABLE t (a integer)")
    folder = written(
        (
            "lockgate_locks = ('t',)",
            """
op.execute('ALTER TABLE t ADD COLUMN b integer')
with op.get_context().autocommit_block():
    op.execute('ALTER TABLE t ADD COLUMN c integer')
if os.environ.get('FAIL'):
    raise ValueError('no')
""",
        ),
    )
    failed = run(folder, FAIL="1")

    result = run(folder, **RESUME)

    assert len(failed.report.failure.committed) == 2
    assert (result.code, result.reason) == (0, "Migrated"), result.output


def test_a_time_out_that_a_revision_lifts_is_set_again(written, database, tried_again_behind_a_reader):
    database.rows("CREATE TABLE a ()")
    folder = written("op.execute('SET lock_timeout = 0')\nop.execute('ALTER TABLE a ADD COLUMN b integer')")
    result = tried_again_behind_a_reader(folder)

    assert (result.code, result.reason) == (0, "Migrated"), result.output


def test_a_revision_that_runs_once_more_finds_its_module_as_it_was(written, database, tried_again_behind_a_reader):
    database.rows("CREATE TABLE a (); CREATE TABLE words (word text)")
    upgrade = """
op.bulk_insert(sa.table('words', sa.column('word')), [{'word': word} for word in WORDS])
op.execute('ALTER TABLE a ADD COLUMN b integer')
"""
    folder = written(("WORDS = iter(['one', 'two'])", upgrade))
    result = tried_again_behind_a_reader(folder)

    assert result.code == 0, result.output
    assert database.value("SELECT count(*) FROM words") == 2


def test_a_tenant_that_came_since_is_migrated_too(written, run, database):
    env = """
import os

from alembic import context
from sqlalchemy import create_engine, pool, text

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
with engine.connect() as connection:
    tenants = [row[0] for row in connection.execute(text("SELECT name FROM tenants"))]
for tenant in tenants:
    with engine.connect() as connection:
        context.configure(connection=connection, version_table_schema=tenant)
        with context.begin_transaction():
            context.run_migrations()
"""
    database.rows("CREATE TABLE tenants AS SELECT 'one' AS name; CREATE SCHEMA one; CREATE SCHEMA two")
    folder = written("pass", env=env)
    run(folder)
    database.rows("INSERT INTO tenants VALUES ('two')")

    result = run(folder)

    assert result.code == 0, result.output
    assert database.rows("SELECT version_num FROM two.alembic_version") == [("n1",)]


def test_a_schema_that_is_half_taken_back_is_no_schema_to_start_with(written, run, database):
    folder = written(
        "op.execute('CREATE TABLE a ()')\nop.execute('CREATE TABLE b ()')",
        downgrade="""
with op.get_context().autocommit_block():
    op.execute('DROP TABLE a')
if os.environ.get('FAIL'):
    raise ValueError('no')
op.execute('DROP TABLE b')
""",
    )
    run(folder)
    back = ("downgrade", "base", "--downgrade", "Allow")
    run(folder, *back, FAIL="1")

    migrated, waited = run(folder), run(folder, "wait", "--timeout", "0s")

    assert (migrated.code, migrated.reason) == (20, "HalfApplied"), migrated.output
    assert "n1 is half taken back" in migrated.report.message
    assert (waited.code, waited.reason) == (12, "SchemaNotReady"), waited.output
    assert "n1 is half taken back" in waited.report.message
    assert run(folder, *back, **RESUME).code == 0


def test_nobody_waits_for_a_version_table_that_is_locked(written, run, start, database, eventually):
    folder = written("op.execute('CREATE TABLE a ()')")
    run(folder)
    with database.connect() as somebody:
        somebody.execute("LOCK TABLE alembic_version, lockgate.history IN ACCESS EXCLUSIVE MODE")

        looked = {command: run(folder, command).reason for command in ("status", "check", "plan", "history", "unlock")}
        somebody.execute("LOCK TABLE lockgate.projects IN ACCESS EXCLUSIVE MODE")
        looked["unlock, nothing readable"] = run(folder, "unlock").reason

        process = start(folder)
        eventually(lambda: any('"leading"' in line for line in process.lines))
        somebody.rollback()

    assert (looked.pop("unlock"), looked.pop("unlock, nothing readable")) == ("NotLocked", "NotLocked")
    assert set(looked.values()) == {"DatabaseBusy"}
    assert process.end().reason == "NothingToDo"


@pytest.mark.skipif("LOCKGATE_TEST_POSTGRES_URL" in os.environ, reason="the server may be on another machine")
def test_wait_ends_also_where_the_server_stands_still(written, start, database, eventually):
    folder = written("pass")
    database.rows("CREATE TABLE alembic_version (version_num text)")
    looks = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'lockgate%wait'"
        " AND wait_event_type = 'Lock'"
    )
    with database.connect() as somebody:
        somebody.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        process = start(folder, "wait", "--timeout", "2s")
        session = eventually(lambda: database.rows(looks))[0][0]
        os.kill(session, signal.SIGSTOP)
        try:
            result = process.end()
        finally:
            os.kill(session, signal.SIGCONT)

    assert (result.code, result.reason) == (12, "SchemaNotReady"), result.output
    assert "the database does not answer" in result.report.message
