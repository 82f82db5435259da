"""Whether what a health check found is what was expected, and the sentence about it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lockgate.masking import masked
from lockgate.report import CheckResult
from lockgate.runner.invocation.checks import ConstraintCheck, ExistsCheck, IndexCheck, SqlCheck, as_text

__all__ = ["constraint_result", "exists_result", "index_result", "listed", "sql_result"]

NAMED = 10
"""A message names so many findings; of the others it gives the number."""


def sql_result(check: SqlCheck, rows: list[tuple[Any, ...]], redact: Callable[[str], str] = masked) -> CheckResult:
    """Compare the first column of the first row with what is expected; what is found is redacted before it is cut."""
    if not rows or not rows[0]:
        return CheckResult(check.name, passed=False, message=f"expected {check.expect}, the query returned no row")
    found = as_text(rows[0][0])
    if found == check.expect:
        return CheckResult(check.name, passed=True)
    return CheckResult(check.name, passed=False, message=f"expected {check.expect}, found {redact(found)[:200]}")


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
