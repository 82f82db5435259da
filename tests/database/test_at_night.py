"""Env files and revisions that do what they should not: nothing is done by halves, nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

ENV = """
import os

from alembic import context
from sqlalchemy import create_engine, pool, text

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """
import os

import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {parent!r}
{head}

def upgrade():
{upgrade}

def downgrade():
{downgrade}
"""
RESUME = {"LOCKGATE_HALF_APPLIED": "Resume"}


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write a project: its env.py, and what its revisions do, with what stands before their functions."""

    def indented(body: str) -> str:
        return "".join(f"    {line}\n" for line in body.strip().splitlines())

    def write(env: str, *revisions: str | tuple[str, str], downgrade: str = "pass") -> Path:
        versions = tmp_path / "written" / "migrations" / "versions"
        versions.mkdir(parents=True)
        (versions.parent / "env.py").write_text(env)
        (versions.parent.parent / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
        for number, revision in enumerate(revisions, 1):
            head, upgrade = revision if isinstance(revision, tuple) else ("", revision)
            text = REVISION.format(
                revision=f"n{number}",
                parent=f"n{number - 1}" if number > 1 else None,
                head=head,
                upgrade=indented(upgrade),
                downgrade=indented(downgrade),
            )
            (versions / f"n{number}.py").write_text(text)
        return versions.parent.parent

    return write


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
    folder = written(SWALLOWS, "op.execute('CREATE TABLE a ()')", f"op.execute('CREATE TABLE b ()')\n{failure}")

    result = run(folder, "migrate", "--ddl-lock-attempts", "2")

    assert result.code in (11, 20), result.output
    assert result.report.reached == ("n1",)
    assert database.rows("SELECT to_regclass('a'), to_regclass('b')") == [("a", None)]
    assert database.rows("SELECT revision FROM lockgate.history") == [("n1",)]


@pytest.mark.parametrize("keeps", ["", "sys.modules.setdefault('kept', []).append(connection)"])
def test_a_session_that_env_py_never_closes_does_not_keep_the_next_attempt_waiting(
    keeps, written, start, database, eventually
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
    folder = written(env, "op.execute('ALTER TABLE a ADD COLUMN b integer')")
    with database.connect() as reader:
        reader.execute("SELECT FROM a")
        process = start(folder)
        eventually(lambda: any('"retrying"' in line for line in process.lines))
        reader.rollback()

        result = process.end()

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert database.advisory_locks() == 0


def test_a_revision_that_went_by_what_it_had_read_is_not_continued(written, run, database):
    database.rows("CREATE TABLE t AS SELECT 10 AS id")
    folder = written(
        ENV,
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
        ENV,
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
        ENV,
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
