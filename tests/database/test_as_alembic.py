"""Whatever env.py does before, around and after its revisions, the database is the one that Alembic alone leaves."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest

from lockgate.report import read_report

ENV = """
import os

from alembic import context
from sqlalchemy import create_engine, pool, text
from sqlalchemy.orm import Session

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool, future=True)
say = lambda connection, *statements: [connection.execute(text(statement)) for statement in statements]
"""
CONNECTED = ENV + "with engine.connect() as connection:\n"
ASYNC = """
import asyncio
import os

from alembic import context
from sqlalchemy import pool, text
from sqlalchemy.ext.asyncio import create_async_engine

say = lambda connection, *statements: [connection.execute(text(statement)) for statement in statements]


def migrate(connection):
    context.configure(connection=connection)
{body}

async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
    async with engine.{connect}() as connection:
        await connection.run_sync(migrate)


asyncio.run(main())
"""
CONFIGURED = CONNECTED + "    context.configure(connection=connection)\n"
BEGUN = CONFIGURED + "    with context.begin_transaction():\n"
IN_PUBLIC = BEGUN.replace("connection=connection)", "connection=connection, version_table_schema='public')")
RUN = "context.run_migrations()\n"
AFTER = "say(connection, 'CREATE TABLE after_all (n int)', 'GRANT SELECT ON t1, t3 TO PUBLIC')\n"


class Style(NamedTuple):
    """A way to write env.py, and which transactions Lockgate has with it."""

    env: str
    transactions: str = "AsEnvironment"
    driver: str = "psycopg"


def _begun(before: str, after: str = "", *, transactions: str = "AsEnvironment", head: str = BEGUN) -> Style:
    """Say something in context.begin_transaction(), before the revisions and after them."""
    return Style(f"{head}        {before}\n        {RUN}" + (f"        {after}\n" if after else ""), transactions)


PER_REVISION = {"transactions": "PerRevision"}
STYLES = {
    "work after the revisions": _begun("pass", AFTER, **PER_REVISION),
    "durable work before": _begun(
        "say(connection, 'CREATE SCHEMA IF NOT EXISTS other', 'SET search_path TO other, public')",
        AFTER,
        **PER_REVISION,
    ),
    "a session's role": _begun("say(connection, 'SET ROLE as_alembic_owner')", **PER_REVISION),
    "a role for one transaction": _begun("say(connection, 'SET LOCAL ROLE as_alembic_owner')", AFTER),
    "a path for one transaction": _begun("context.execute('SET LOCAL search_path TO tenant')", AFTER, head=IN_PUBLIC),
    "a tenant's path": _begun("say(connection, 'SET search_path TO tenant')", **PER_REVISION),
    "a setting for one transaction": _begun("""say(connection, "SELECT set_config('app.tenant', 'ann', true)")"""),
    "rows and a view": _begun(
        """say(connection, "INSERT INTO audit VALUES ('begun')", "DROP VIEW IF EXISTS whole")""",
        "say(connection, 'CREATE VIEW whole AS SELECT * FROM t2')",
    ),
    "a savepoint around": Style(BEGUN + f"        with connection.begin_nested():\n            {RUN}"),
    "a commit inside": _begun("pass", AFTER + "        connection.commit()", **PER_REVISION),
    "no transaction": Style(CONFIGURED + f"    {RUN}    {AFTER}    connection.commit()\n", "PerRevision"),
    "no transaction, and a statement": Style(
        CONFIGURED + f"    say(connection, 'SET LOCAL ROLE as_alembic_owner')\n    {RUN}    connection.commit()\n"
    ),
    "one transaction for each": Style(
        BEGUN.replace("connection=connection)", "connection=connection, transaction_per_migration=True)")
        + f"        {RUN}        {AFTER}",
        "PerRevision",
    ),
    "engine.begin()": Style(
        ENV + f"with engine.begin() as connection:\n    say(connection, 'SELECT 1')\n"
        f"    context.configure(connection=connection)\n    {RUN}    {AFTER}"
    ),
    "connection.begin()": Style(CONFIGURED + f"    with connection.begin():\n        {RUN}        {AFTER}"),
    "a transaction that is committed": Style(
        CONFIGURED + f"    begun = connection.begin()\n    {RUN}    begun.commit()\n"
    ),
    "both": Style(
        CONFIGURED + f"    with connection.begin(), context.begin_transaction():\n        {RUN}        {AFTER}"
    ),
    "a session": Style(
        ENV + f"with Session(engine) as session:\n    context.configure(connection=session.connection())\n    {RUN}"
        "    say(session, 'CREATE TABLE after_all (n int)')\n    session.commit()\n"
    ),
    "an observer": Style(
        BEGUN.replace(
            "connection=connection)",
            "connection=connection, on_version_apply=lambda ctx, step, heads, run_args: ctx.connection.execute("
            'text("INSERT INTO audit VALUES (\'" + step.up_revision_id + "\')")))',
        )
        + f"        {RUN}",
        "PerRevision",
    ),
    "several tenants": Style(
        ENV + "for tenant in ('tenant', 'public'):\n    with engine.connect() as connection:\n"
        "        context.configure(connection=connection, version_table_schema=tenant)\n"
        "        with context.begin_transaction():\n            say(connection, f'SET LOCAL search_path TO {tenant}')\n"
        f"            {RUN}"
    ),
    "several tenants in one context": Style(
        CONFIGURED + "    for tenant in ('public', 'tenant'):\n        with context.begin_transaction():\n"
        f"            say(connection, f'SET LOCAL search_path TO {{tenant}}')\n            {RUN}"
    ),
    "a setting for the second run": Style(
        BEGUN + f"        {RUN}        say(connection, 'SET LOCAL search_path TO tenant')\n        {RUN}"
    ),
    "a listener": Style(
        ENV + "from sqlalchemy import event\n\n\n@event.listens_for(engine, 'begin')\ndef begun(connection):\n"
        "    connection.exec_driver_sql('SET LOCAL ROLE as_alembic_owner')\n\n\n"
        + BEGUN.removeprefix(ENV)
        + f"        {RUN}"
    ),
    "autocommit": Style(
        BEGUN.replace("connect()", "connect().execution_options(isolation_level='AUTOCOMMIT')")
        + f"        {RUN}        {AFTER}",
        "PerRevision",
    ),
    "asyncio": Style(
        ASYNC.format(connect="connect", body=f"    with context.begin_transaction():\n        {RUN}        {AFTER}"),
        "PerRevision",
        "asyncpg",
    ),
    "asyncio and a setting": Style(
        ASYNC.format(
            connect="connect",
            body="    with context.begin_transaction():\n        say(connection, 'SET LOCAL ROLE as_alembic_owner')\n"
            f"        {RUN}",
        ),
        driver="asyncpg",
    ),
    "asyncio and begin()": Style(ASYNC.format(connect="begin", body=f"    {RUN}    {AFTER}"), driver="asyncpg"),
}
REVISIONS = tuple(
    f"op.execute(\"CREATE TABLE t{number} (n int, tenant text DEFAULT current_setting('app.tenant', true),"
    f" role text DEFAULT current_user)\")\nop.execute('INSERT INTO t{number} (n) VALUES (1)')"
    for number in (1, 2, 3)
)


@pytest.fixture
def owner(administration):
    """Make the role that some of the styles take."""
    with psycopg.connect(administration, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS as_alembic_owner")
        connection.execute("CREATE ROLE as_alembic_owner")
        yield "as_alembic_owner"
        connection.execute("DROP ROLE as_alembic_owner")


@pytest.fixture
def prepared(owner, make_database):  # in this order: the role can go once the databases are gone
    """Create databases with what the styles need."""

    def make():
        database = make_database()
        database.rows(
            f"CREATE SCHEMA tenant; CREATE TABLE audit (what text); GRANT ALL ON SCHEMA public, tenant TO {owner}"
        )
        return database

    return make


def _run(runs: list[Any]) -> list[tuple[int, str]]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("LOCKGATE_", "DATABASE_URL", "PYTHON"))}
    program = [sys.executable, "-P", "-B", str(Path(__file__).with_name("both_programs.py"))]
    done = subprocess.run(
        program, input=json.dumps(runs), env=inherited, capture_output=True, text=True, check=True, timeout=300
    )
    return [(code, output) for code, output in json.loads(done.stdout)]


def _dump(postgres_server, database) -> str:
    """Return the whole database as SQL, with owners, rights and rows, without Lockgate's own schema."""
    parts = urlsplit(database.administration)
    url = parts._replace(path=f"/{database.name}").geturl()
    program = postgres_server.server_binaries() / "pg_dump"
    dump = subprocess.run(
        [program, "--inserts", "--exclude-schema=lockgate", url], capture_output=True, text=True, check=True
    ).stdout
    return re.sub(r"^\\(?:un)?restrict .*$", "", dump, flags=re.MULTILINE)


def test_every_style_of_env_py_leaves_the_database_that_it_leaves_with_alembic(
    written, prepared, postgres_server, tmp_path
):
    folder = written(*REVISIONS)
    runs, databases = [], {}
    for number, (name, style) in enumerate(STYLES.items()):
        copy = tmp_path / f"style{number}"
        subprocess.run(["cp", "-r", folder, copy], check=True)
        (copy / "migrations" / "env.py").write_text(style.env)
        for program in ("alembic", "lockgate"):
            database = databases[name, program] = prepared()
            environment = {"DATABASE_URL": database.url(style.driver), "LOCKGATE_OUTPUT": "json"}
            runs.append([program, str(copy), environment])

    ended = dict(zip(databases, _run(runs), strict=True))

    for name, style in STYLES.items():
        for program in ("alembic", "lockgate"):
            assert ended[name, program][0] == 0, f"{name}, {program}: {ended[name, program][1]}"
        report = read_report(ended[name, "lockgate"][1])
        assert report is not None
        assert (name, report.reason, report.transactions) == (name, "Migrated", style.transactions)
        dumps = [_dump(postgres_server, databases[name, program]) for program in ("alembic", "lockgate")]
        assert "t3" in dumps[0], name
        assert dumps[0] == dumps[1], name
