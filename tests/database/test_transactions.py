"""Whose transactions a run uses, and what holds in env.py's: lock waits, half-applied revisions, the fence."""

from __future__ import annotations

import pytest

HEAD = """
import os

from alembic import context
from sqlalchemy import create_engine, pool, text

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
"""
BEGIN = f"""{HEAD}
with engine.begin() as connection:
    context.configure(connection=connection)
    context.run_migrations()
"""
AROUND = (
    HEAD
    + """with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        connection.execute(text("{before}"))
        context.run_migrations()
        connection.execute(text("{after}"))
"""
)
T1, T2 = "op.execute('CREATE TABLE t1 (n int)')", "op.execute('CREATE TABLE t2 (n int)')"
OTHER = """other = sa.create_engine(os.environ['DATABASE_URL'], poolclass=sa.pool.NullPool)
with other.connect() as connection:
    connection.execute(sa.text("{}"))"""
HEARD = "    op.execute('CREATE TABLE seen ()')\nexcept sa.exc.ProgrammingError:\n    pass"


def test_what_env_py_does_after_the_last_revision_is_one_with_it(written, run, database):
    folder = written(T1, T2, env=AROUND.format(before="SELECT 1", after="SELECT 1 / 0"))

    result = run(folder)

    assert (result.code, result.reason) == (20, "MigrationFailed"), result.output
    assert (result.report.reached, result.report.pending) == (("n1",), 1)
    assert database.rows("SELECT revision FROM lockgate.history") == [("n1",)]
    assert "env.py failed at env.py:" in result.report.message


def test_a_transaction_for_each_revision_that_cannot_be_kept_is_refused_before_anything(written, run, database):
    folder = written(T1, T2, env=AROUND.format(before="SET LOCAL lock_timeout = 0", after="SELECT 1"))

    result = run(folder, "migrate", "--transactions", "PerRevision")

    assert (result.code, result.reason) == (21, "InvalidConfiguration"), result.output
    assert "SET LOCAL lock_timeout" in result.report.message
    assert database.value("SELECT to_regclass('t1')") is None


def test_a_lock_that_is_held_undoes_all_of_env_pys_transaction_and_the_run_is_tried_again(
    written, database, start, eventually
):
    database.rows("CREATE TABLE a (n int)")
    folder = written(T1, "op.execute('ALTER TABLE a ADD COLUMN m int')", env=BEGIN)
    with database.connect() as reader:
        reader.execute("SELECT FROM a")
        process = start(folder)
        eventually(lambda: any('"retrying"' in line for line in process.lines))
        assert database.value("SELECT to_regclass('t1')") is None
        reader.rollback()
        result = process.end()

    assert (result.code, result.report.reached) == (0, ("n2",)), result.output
    assert [step.revision for step in result.report.applied] == ["n1", "n2"]
    assert database.value("SELECT count(DISTINCT xmin::text) FROM lockgate.history") == 1


def test_a_revision_that_committed_a_part_is_half_applied_where_env_pys_transaction_takes_back_the_rest(
    written, run, database
):
    block = "with op.get_context().autocommit_block():\n    op.execute('CREATE TABLE outside (n int)')\n"
    folder = written(block + T1, "op.execute('SELECT 1 / 0')", env=AROUND.format(before="SET LOCAL a.b = 1", after=""))

    result = run(folder)

    assert (result.code, result.reason) == (20, "HalfApplied"), result.output
    assert "Revision n1 is half applied" in result.report.message
    assert result.report.failure.committed == ("CREATE TABLE outside (n int)",)
    assert database.value("SELECT to_regclass('t1')") is None
    assert run(folder).reason == "HalfApplied"  # the next one reads it in the database


def test_env_py_that_gives_back_the_lock_after_its_revisions_commits_nothing_more(written, run, database):
    after = "SELECT pg_advisory_unlock_all()"
    folder = written(T1, T2, env=AROUND.format(before="SET LOCAL lock_timeout = 0", after=after))

    result = run(folder)

    assert (result.code, result.reason, result.report.reached) == (20, "MigrationFailed", ()), result.output
    assert "env.py, after its revisions, gave back the lock" in result.report.message
    assert database.value("SELECT to_regclass('t1')") is None


def test_a_revision_that_calls_commit_is_recorded_and_warned_of(written, run, database):
    folder = written(T1, "op.get_bind().commit()\n" + T2)

    result = run(folder)

    assert (result.code, result.report.reached) == (0, ("n2",)), result.output
    assert any("Committed by the revision itself: n2" in warning for warning in result.report.warnings)


@pytest.mark.parametrize("transactions", ["Auto", "AsEnvironment"])
def test_what_a_session_of_the_revisions_own_sees_depends_on_the_transactions_and_is_said(
    transactions, written, run, database
):
    folder = written(T1, f"try:\n    {OTHER.format('SELECT FROM t1').replace(chr(10), chr(10) + '    ')}\n{HEARD}")

    result = run(folder, "migrate", "--transactions", transactions)

    sees = transactions == "Auto"
    assert (result.code, database.value("SELECT to_regclass('seen')")) == (0, "seen" if sees else None), result.output
    assert any("A session of its own: n2" in warning for warning in result.report.warnings) == sees


def test_a_revision_that_waits_for_its_own_other_session_is_told_which_waits_for_which(written, run):
    folder = written(T1, "op.execute('ALTER TABLE t1 ADD COLUMN m int')\n" + OTHER.format("SELECT FROM t1"))

    result = run(folder)

    assert (result.code, result.reason) == (20, "MigrationFailed"), result.output
    assert "Revision n2 waits for itself" in result.report.message
    assert "lock on t1 held by pid" in result.report.message
    assert result.report.attempts < 40
