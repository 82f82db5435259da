"""Runs the health checks, over a read-only connection of its own."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from lockgate.errors import DatabaseReadOnly
from lockgate.report import CheckResult
from lockgate.runner import outcome
from lockgate.runner.checks import Check, IndexCheck, SqlCheck, index_result, sql_result
from lockgate.runner.connection import OwnConnection

__all__ = ["check_health", "invalid_indexes"]

CHECK_SECONDS = 60
"""A check that takes longer has failed: the gate waits for it, and so do the pods."""

_INVALID = (
    "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_index i"
    " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE NOT i.indisvalid AND c.relkind = 'i'"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)"
)


def invalid_indexes(connection: OwnConnection) -> frozenset[str]:
    """Return the invalid indexes that nobody builds right now; one of a partitioned table has parts to come."""
    return frozenset(str(row[0]) for row in connection.rows(_INVALID))


def check_health(
    checks: tuple[Check, ...], connect: Callable[[str], OwnConnection], before: frozenset[str], built: frozenset[str]
) -> tuple[CheckResult, ...]:
    """Run the checks in order, all of them, whatever the first ones find."""
    if not checks:
        return ()
    connection = connect("check")
    try:
        connection.rows("SET default_transaction_read_only = on")
        connection.rows(f"SET statement_timeout = '{CHECK_SECONDS}s'")
        return tuple(_run(check, connection, before, built) for check in checks)
    finally:
        connection.close()


def _run(check: Check, connection: OwnConnection, before: frozenset[str], built: frozenset[str]) -> CheckResult:
    try:
        if isinstance(check, IndexCheck):
            return index_result(check, before, invalid_indexes(connection), built)
        assert isinstance(check, SqlCheck)  # noqa: S101  # there are two kinds
        return sql_result(check, connection.verbatim(check.query))
    except SQLAlchemyError as error:
        known = outcome.classify(error)
        # A lost connection or a lock says nothing about the schema; that the session is read-only is our own doing.
        if known.retryable and not isinstance(known, DatabaseReadOnly):
            raise known from error
        return CheckResult(check.name, passed=False, message=outcome.brief(error))
