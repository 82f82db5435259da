"""Runs the health checks; what asks the database does so over a read-only connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lockgate.report import CheckResult
from lockgate.runner.database import outcome
from lockgate.runner.database.connection import OwnConnection, database_error
from lockgate.runner.health.check_results import constraint_result, exists_result, index_result, sql_result
from lockgate.runner.invocation.checks import (
    Check,
    CommandCheck,
    ConstraintCheck,
    DriftCheck,
    ExistsCheck,
    HttpCheck,
    IndexCheck,
    SqlCheck,
)
from lockgate.runner.records.unverified import Baseline

__all__ = ["Surroundings", "baseline", "check_health", "check_over", "invalid_indexes", "unvalidated_constraints"]

CHECK_SECONDS = 60
"""A check that takes longer has failed: the gate waits for it, and so do the pods."""

_INVALID = (
    "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_index i"
    " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname <> 'pg_toast'"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)"
)
# NOT ENFORCED (PostgreSQL 18) is never validated, on purpose; by way of JSON older servers need not have the column.
_UNVALIDATED = (
    "SELECT n.nspname || '.' || coalesce(c.relname, t.typname) || '.' || k.conname FROM pg_catalog.pg_constraint k"
    " JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace"
    " LEFT JOIN pg_catalog.pg_class c ON c.oid = k.conrelid LEFT JOIN pg_catalog.pg_type t ON t.oid = k.contypid"
    " WHERE NOT k.convalidated AND coalesce(to_jsonb(k) ->> 'conenforced', 'true') = 'true'"
)


class Surroundings(NamedTuple):
    """What checks need besides a connection."""

    before: Baseline
    built: frozenset[str]
    """Names of the indexes that this run built CONCURRENTLY."""
    drift: Callable[[DriftCheck], CheckResult]
    """Runs env.py, which only the run itself can do."""
    redact: Callable[[str], str]


def invalid_indexes(connection: OwnConnection) -> frozenset[str]:
    """Return the invalid indexes that nobody builds right now; one of a partitioned table has parts to come.

    Not those of TOAST tables, which a killed REINDEX leaves: nobody uses them, and nobody may drop them.
    """
    return frozenset(str(row[0]) for row in connection.rows(_INVALID))


def unvalidated_constraints(connection: OwnConnection) -> frozenset[str]:
    """Return the constraints that are NOT VALID, as ``schema.table.name`` (or ``schema.domain.name``)."""
    return frozenset(str(row[0]) for row in connection.rows(_UNVALIDATED))


def baseline(connection: OwnConnection) -> Baseline:
    """Look before the run begins."""
    if not connection.backend.has_invalid_objects:
        return Baseline()
    return Baseline(invalid_indexes(connection), unvalidated_constraints(connection))


def check_health(
    checks: tuple[Check, ...], connect: Callable[[str], OwnConnection], surroundings: Surroundings
) -> tuple[CheckResult, ...]:
    """Run the checks in order, all of them, whatever the first ones find."""
    if not checks:
        return ()
    connection = connect("check")
    try:
        return check_over(connection, checks, surroundings)
    finally:
        connection.close()


def check_over(
    connection: OwnConnection, checks: tuple[Check, ...], surroundings: Surroundings
) -> tuple[CheckResult, ...]:
    """Run the checks as `check_health` does, over a connection that is good for nothing else afterwards."""
    if not checks:
        return ()
    connection.backend.forbid_writes(connection.rows)
    connection.backend.limit_statements(connection.rows, CHECK_SECONDS)
    return tuple(_run(check, connection, surroundings) for check in checks)


def _run(check: Check, connection: OwnConnection, surroundings: Surroundings) -> CheckResult:
    if isinstance(check, HttpCheck):
        from lockgate.runner.health.http_check import check_http  # noqa: PLC0415  # a run that has none should not pay for it

        return check_http(check)
    if isinstance(check, CommandCheck):
        from lockgate.runner.health.command_check import check_command  # noqa: PLC0415  # as above

        return check_command(check, surroundings.redact)
    if isinstance(check, DriftCheck):
        return surroundings.drift(check)
    try:
        return _ask(check, connection, surroundings)
    except database_error() as error:
        known = outcome.classify(error)
        # A lost connection or a lock says nothing about the schema; that the session is read-only is our own doing.
        if known.retryable and not outcome.is_refused_write(error):
            raise known from error
        return CheckResult(check.name, passed=False, message=outcome.brief(error))


def _ask(
    check: SqlCheck | IndexCheck | ExistsCheck | ConstraintCheck, connection: OwnConnection, surroundings: Surroundings
) -> CheckResult:
    before = surroundings.before
    if isinstance(check, IndexCheck):
        return index_result(check, before.invalid_indexes, invalid_indexes(connection), surroundings.built)
    if isinstance(check, ConstraintCheck):
        return constraint_result(check, before.unvalidated_constraints, unvalidated_constraints(connection))
    if isinstance(check, ExistsCheck):
        return exists_result(check, _missing(check, connection))
    return sql_result(check, connection.verbatim(check.query), surroundings.redact)


def _missing(check: ExistsCheck, connection: OwnConnection) -> list[str]:
    """Return what is not there, in the order of the check, tables first."""
    listed = (("table", check.tables), ("index", check.indexes), ("column", check.columns))
    there = connection.backend.is_there
    return [f"{kind} {name}" for kind, names in listed for name in names if not there(connection, kind, name)]
