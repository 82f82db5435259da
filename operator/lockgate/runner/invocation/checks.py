"""Health checks after a migration: what can be checked, and whether a value found is the value expected. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lockgate.report import CheckResult

__all__ = [
    "Check",
    "CommandCheck",
    "ConstraintCheck",
    "DriftCheck",
    "ExistsCheck",
    "HttpCheck",
    "IndexCheck",
    "SqlCheck",
    "as_text",
    "constraint_result",
    "exists_result",
    "index_result",
    "listed",
    "sql_result",
]

NAMED = 10
"""So many findings are named in a message; of the others it gives the number."""


@dataclass(frozen=True)
class SqlCheck:
    """A query whose first column of the first row must be, as text, what is expected."""

    name: str
    query: str
    expect: str = "true"


@dataclass(frozen=True)
class IndexCheck:
    """No index may have become invalid by this run, except those named (``*``: all)."""

    name: str = "indexes"
    ignore: tuple[str, ...] = ()
    implied: bool = field(default=False, compare=False)
    """Nobody asked for it: it is on by default."""


@dataclass(frozen=True)
class ExistsCheck:
    """Tables, indexes and columns (``table.column``) that must be there, each with or without a schema."""

    name: str = "exists"
    tables: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConstraintCheck:
    """No constraint may have become NOT VALID by this run, except those named (``*``: all)."""

    name: str = "constraints"
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class DriftCheck:
    """Models and database must not differ, except in tables, or in differences, that are named."""

    name: str = "drift"
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class HttpCheck:
    """A URL must answer with this status within ``timeout`` seconds. The URL may hold secrets."""

    name: str
    url: str
    status: int = 200
    timeout: float = 5.0


@dataclass(frozen=True)
class CommandCheck:
    """A program must end with 0 within ``timeout`` seconds."""

    name: str
    command: tuple[str, ...]
    timeout: float = 30.0


Check = SqlCheck | IndexCheck | ExistsCheck | ConstraintCheck | DriftCheck | HttpCheck | CommandCheck


def as_text(value: object) -> str:
    """Spell a value as expectations are written: ``true``, ``false``, ``null``, else ``str()``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def sql_result(check: SqlCheck, rows: list[tuple[Any, ...]]) -> CheckResult:
    """Compare the first column of the first row with what is expected."""
    if not rows or not rows[0]:
        return CheckResult(check.name, passed=False, message=f"expected {check.expect}, the query returned no row")
    found = as_text(rows[0][0])
    if found == check.expect:
        return CheckResult(check.name, passed=True)
    return CheckResult(check.name, passed=False, message=f"expected {check.expect}, found {found[:200]}")


def index_result(
    check: IndexCheck, before: frozenset[str], after: frozenset[str], built: frozenset[str]
) -> CheckResult:
    """Find indexes (``schema.name``) that this run left invalid.

    ``built`` are names that this run's statements built CONCURRENTLY: such an index counts also where it was invalid
    before, because ``IF NOT EXISTS`` passes over the invalid rest of an earlier try without a word.
    """
    if "*" in check.ignore:
        return CheckResult(check.name, passed=True, message="all ignored")
    again = {index for index in after & before if index.rpartition(".")[2] in built}
    left = sorted(
        index
        for index in (after - before) | again
        if index not in check.ignore and index.rpartition(".")[2] not in check.ignore
    )
    if not left:
        return CheckResult(check.name, passed=True)
    return CheckResult(
        check.name,
        passed=False,
        message=f"invalid index {', '.join(left)}: drop it (DROP INDEX CONCURRENTLY), repair the data, build it again",
    )


def constraint_result(check: ConstraintCheck, before: frozenset[str], after: frozenset[str]) -> CheckResult:
    """Find constraints (``schema.table.name``) that this run left NOT VALID."""
    if "*" in check.ignore:
        return CheckResult(check.name, passed=True, message="all ignored")
    left = sorted(after - before - {name for name in after for end in _endings(name) if end in check.ignore})
    if not left:
        return CheckResult(check.name, passed=True)
    message = f"NOT VALID: {listed(left)}; repair the data, then ALTER TABLE ... VALIDATE CONSTRAINT"
    return CheckResult(check.name, passed=False, message=message)


def _endings(name: str) -> tuple[str, ...]:
    """Return the ways to write ``schema.table.name``: whole, without the schema, the last part alone."""
    parts = name.split(".")
    return tuple(".".join(parts[start:]) for start in range(len(parts)))


def exists_result(check: ExistsCheck, missing: Sequence[str]) -> CheckResult:
    """Say what is missing, each with the kind of thing that it should be."""
    return CheckResult(check.name, passed=not missing, message=f"missing: {listed(missing)}" if missing else "")


def listed(findings: Sequence[str]) -> str:
    """Name the first findings, and say how many there are besides."""
    more = len(findings) - NAMED
    return ", ".join(findings[:NAMED]) + (f" and {more} more" if more > 0 else "")
