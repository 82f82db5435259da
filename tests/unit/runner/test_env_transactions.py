"""Whose transactions a run uses, by what env.py does around ``run_migrations()``."""

from __future__ import annotations

import pytest

from lockgate.errors import InvalidConfiguration
from lockgate.runner.entry.env_transactions import SAVEPOINT, Style, choose, foretell, outlives_commit

STAYS = (
    "SET search_path TO shop",
    "set session lock_timeout = '4s'",
    "SET ROLE owner_role",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "RESET ROLE",
    "SHOW search_path",
    "SELECT set_config('search_path', 'a,b', false)",
    "SELECT set_config('search_path', %(path)s, is_local => false)",
    "SELECT 1",
    "SELECT pg_advisory_lock(hashtext('alembic'))",
    "SELECT schema_name FROM information_schema.schemata WHERE schema_name IN ('a', 'b')",
    "SELECT relname FROM pg_class WHERE pg_catalog.pg_table_is_visible(oid) AND relkind = ANY (ARRAY['r'])",
    "CREATE SCHEMA IF NOT EXISTS shop",
    'CREATE EXTENSION IF NOT EXISTS "uuid-ossp"',
    "CREATE TABLE IF NOT EXISTS audit (n int)",
    "CREATE OR REPLACE VIEW v AS SELECT pg_sleep(0)",
    "GRANT USAGE ON SCHEMA shop TO reader; -- and\nSET search_path TO shop",
    "BEGIN IMMEDIATE",
    "",
)
ENDS = (
    "SET LOCAL search_path TO shop",
    "/* tenant */ SET  LOCAL ROLE owner_role",
    "SET search_path TO shop; SET LOCAL ROLE owner_role",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET transaction_read_only = off",
    "SET CONSTRAINTS ALL DEFERRED",
    "SELECT set_config('app.tenant', 'a', true)",
    "SELECT set_config('app.tenant', %(tenant)s, %(local)s)",
    "SELECT set_config('a', 'x', false), set_config('b', 'y', true)",
    "SELECT pg_advisory_xact_lock(1)",
    "SELECT tenants.enter('a')",
    'SELECT "Enter"(1)',
    "SELECT * FROM tenants FOR UPDATE",
    "SELECT * INTO TEMP t FROM tenants",
    "WITH gone AS (DELETE FROM jobs RETURNING 1) SELECT 1",
    "LOCK TABLE orders IN EXCLUSIVE MODE",
    "CREATE TEMP TABLE IF NOT EXISTS t (n int) ON COMMIT DROP",
    "CREATE TABLE t (n int)",
    "DROP VIEW IF EXISTS v",
    "REVOKE ALL ON orders FROM app",
    "ALTER TABLE orders DISABLE TRIGGER ALL",
    "INSERT INTO audit VALUES ('begun')",
    "DO $$ BEGIN PERFORM 1; END $$",
    "CALL prepare()",
    "COMMIT",
    SAVEPOINT,
)


@pytest.mark.parametrize("statement", STAYS)
def test_what_stays_after_a_commit_bears_a_transaction_for_each_revision(statement):
    assert outlives_commit(statement)
    assert choose("Auto", Style(statements=(statement,))).transactions == "PerRevision"


@pytest.mark.parametrize("statement", ENDS)
def test_what_ends_with_its_transaction_or_is_not_known_needs_env_pys_own(statement):
    choice = choose("Auto", Style(statements=("SELECT 1", statement)))

    assert choice.transactions == "AsEnvironment"
    assert "before the first revision" in choice.why
    with pytest.raises(InvalidConfiguration, match="cannot be kept"):
        choose("PerRevision", Style(statements=(statement,)))


def test_a_transaction_that_env_py_has_begun_is_the_one_that_is_used():
    assert choose("Auto", Style(begun=True)).transactions == "AsEnvironment"
    with pytest.raises(InvalidConfiguration, match="a transaction that it has begun itself"):
        choose("PerRevision", Style(begun=True))


def test_env_py_that_asks_for_a_transaction_for_each_revision_has_its_way():
    for wanted in ("Auto", "PerRevision", "AsEnvironment"):
        style = Style(says_per_migration=True, statements=("SET LOCAL ROLE a",))
        assert choose(wanted, style).transactions == "PerRevision"


def test_where_ddl_is_not_transactional_alembic_has_a_transaction_for_each_revision():
    assert choose("AsEnvironment", Style(transactional=False)).transactions == "PerRevision"
    assert choose("Auto", Style(transactional=False, begun=True)).transactions == "AsEnvironment"


def test_an_env_py_that_bears_both_gets_what_is_wanted():
    assert choose("AsEnvironment", Style()).transactions == "AsEnvironment"
    assert choose("PerRevision", Style()).transactions == "PerRevision"


def test_no_value_of_a_statement_is_told():
    style = Style(statements=("SELECT log_in('hunter2', $$hunter2$$)",))

    assert "hunter2" not in choose("Auto", style).why


def test_a_plan_says_what_is_known_beforehand():
    assert foretell("Auto", begun=False).startswith("PerRevision, each revision committed by itself, unless")
    assert foretell("Auto", begun=True).startswith("AsEnvironment")
    assert foretell("AsEnvironment", begun=False).startswith("AsEnvironment")
    assert "refused" in foretell("PerRevision", begun=True)
