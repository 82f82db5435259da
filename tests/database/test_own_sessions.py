"""Lockgate's own sessions are guests: neither what a role is set to nor what a revision changes is in their way."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

HOSTILE = {
    "array_nulls": "off",
    "backslash_quote": "off",
    "bytea_output": "escape",
    "check_function_bodies": "off",
    "client_encoding": "LATIN1",
    "client_min_messages": "debug5",
    "datestyle": "German, DMY",
    "default_table_access_method": "heap",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "enable_indexscan": "off",
    "enable_seqscan": "off",
    "escape_string_warning": "on",
    "exit_on_error": "on",
    "extra_float_digits": "-15",
    "idle_in_transaction_session_timeout": "60s",
    "idle_session_timeout": "700ms",
    "intervalstyle": "iso_8601",
    "jit": "on",
    "jit_above_cost": "0",
    "lock_timeout": "1ms",
    "plan_cache_mode": "force_generic_plan",
    "quote_all_identifiers": "on",
    "row_security": "off",
    "search_path": "shop",
    "standard_conforming_strings": "off",
    "statement_timeout": "600ms",
    "synchronous_commit": "off",
    "tcp_keepalives_idle": "1",
    "tcp_user_timeout": "1000",
    "timezone": "Asia/Kathmandu",
    "transaction_timeout": "500ms",
    "transform_null_equals": "on",
    "work_mem": "64kB",
    "xmlbinary": "hex",
}
"""What a role can be set to that makes something go wrong for those who trust in the defaults."""

LIFTING_ENV = """
import os

from alembic import context
from sqlalchemy import create_engine, pool, text

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
with engine.connect() as connection:
    # What plain Alembic needs as well. The rest stays as the role has it.
    connection.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"))
    connection.execute(text("SET lock_timeout = 0"))
    connection.execute(text("SET statement_timeout = 0"))
    connection.execute(text("SET exit_on_error = off"))
    connection.execute(text("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'"))
    connection.commit()
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""


@pytest.fixture
def guest(database):
    """Make a role that owns the database; return its URL, and what sets it up."""
    name = f"guest_{database.name}"
    database.rows(f"CREATE ROLE {name} LOGIN PASSWORD 's3cret-guest'")
    database.rows(f"ALTER DATABASE {database.name} OWNER TO {name}")
    database.rows(f"CREATE SCHEMA shop AUTHORIZATION {name}")
    parts = urlsplit(database.url())

    def url(driver="psycopg", **settings):
        known = {row[0].lower() for row in database.rows("SELECT name FROM pg_settings")}
        for setting, value in settings.items():
            if setting in known:
                database.rows(f"ALTER ROLE {name} SET {setting} = {value if setting == 'search_path' else repr(value)}")
        place = f"{name}:s3cret-guest@{parts.hostname}:{parts.port}"
        return urlunsplit(parts._replace(scheme=f"postgresql+{driver}", netloc=place))

    yield url
    with psycopg.connect(database.administration, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {database.name} WITH (FORCE)")
        connection.execute(f"DROP ROLE {name}")


@pytest.mark.parametrize("postgres_kind", ["embedded"])  # the newest: it knows all of them
def test_no_setting_of_a_role_changes_what_a_run_does_and_records(guest, written, run, database):
    folder = written(
        "op.create_table('a', sa.Column('n', sa.Integer))  # 数 → ü",
        "op.execute('SELECT pg_sleep(1)')",
        "op.execute('INSERT INTO a VALUES (1)')",
        env=LIFTING_ENV,
    )
    url = guest(**HOSTILE)

    first = run(folder, "migrate", "--ddl-lock-attempts", "1", url=url)
    second = run(folder, url=url)
    told = run(folder, "history", url=url)
    ready = run(folder, "wait", "--timeout", "0s", url=url)

    assert (first.code, first.reason, first.report.attempts) == (0, "Migrated", 1), first.output
    assert first.report.warnings == ()
    assert (second.code, second.reason) == (0, "NothingToDo"), second.output
    assert (told.code, ready.code) == (0, 0), told.output + ready.output
    assert database.rows("SELECT n FROM shop.a") == [(1,)]
    assert database.rows("SELECT revision, version_table FROM lockgate.history ORDER BY id") == [
        (revision, "shop.alembic_version") for revision in ("n1", "n2", "n3")
    ]
    kept = database.value("SELECT source FROM lockgate.history WHERE revision = 'n1'")
    assert kept.encode().decode("unicode_escape").count("数 → ü") == 1
    assert database.value("SELECT seconds BETWEEN 1 AND 60 FROM lockgate.history WHERE revision = 'n2'")


BEGINNING_ENV = """
import os

from alembic import context
from sqlalchemy import create_engine, text

with create_engine(os.environ["DATABASE_URL"]).begin() as connection:
    connection.execute(text("SELECT 1"))
    context.configure(connection=connection)
    context.run_migrations()
"""


def test_a_revision_may_widen_the_version_table_however_often_it_was_read_before(written, run, database):
    widen = "op.alter_column('alembic_version', 'version_num', type_=sa.String(255))"
    folder = written(*["pass"] * 7, widen, "pass", env=BEGINNING_ENV)

    result = run(folder)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert database.rows("SELECT version_num FROM alembic_version") == [("n9",)]


def test_runs_that_wait_leave_the_sessions_of_a_role_to_the_one_that_leads(guest, written, start, database):
    folder = written("op.execute('SELECT pg_sleep(1)')")
    url = guest()
    database.rows(f"ALTER ROLE guest_{database.name} CONNECTION LIMIT 2")

    results = [process.end() for process in [start(folder, url=url) for _ in range(4)]]

    assert [result.code for result in results] == [0] * 4, "".join(result.output for result in results)
    assert sorted(result.reason for result in results) == ["Migrated", *["NothingToDo"] * 3]


def test_a_role_that_may_have_one_session_is_told_how_many_a_run_needs(guest, written, run, database):
    url = guest()
    database.rows(f"ALTER ROLE guest_{database.name} CONNECTION LIMIT 1")

    result = run(written("pass"), url=url)

    assert (result.code, result.reason) == (21, "InvalidConfiguration"), result.output
    assert (
        f"needs 2 sessions at the same time, its own and env.py's, and the role guest_{database.name}" in result.output
    )


def test_a_server_without_a_session_left_is_waited_for_as_long_as_the_lock(guest, written, run, database):
    url = guest()
    database.rows(f"ALTER ROLE guest_{database.name} CONNECTION LIMIT 2")
    plain = url.replace("+psycopg", "")

    with psycopg.connect(plain), psycopg.connect(plain):
        result = run(written("pass"), "migrate", "--lock-wait", "1s", url=url)

    assert (result.code, result.reason, result.report.retryable) == (11, "TooManySessions", True), result.output
    assert "CONNECTION LIMIT" in result.report.message


def test_a_publication_of_all_tables_gets_no_table_that_its_subscribers_lack(written, run, database):
    database.rows("CREATE PUBLICATION everything FOR ALL TABLES")
    folder = written("op.execute('CREATE TABLE a (id int PRIMARY KEY)')")

    first = run(folder)
    database.rows("CREATE SCHEMA lockgate")  # as the warning says, by somebody who has made the tables there too
    (folder / "migrations" / "versions" / "n2.py").write_text(
        (folder / "migrations" / "versions" / "n1.py")
        .read_text()
        .replace("TABLE a", "TABLE b")
        .replace("down_revision = None", "down_revision = 'n1'")
        .replace("revision = 'n1'", "revision = 'n2'", 1)
    )
    second = run(folder)

    assert (first.code, first.reason) == (0, "Migrated"), first.output
    assert "everything publishes all tables" in " ".join(first.report.warnings)
    assert (second.code, second.reason) == (0, "Migrated"), second.output
    assert database.rows("SELECT revision FROM lockgate.history") == [("n2",)]
