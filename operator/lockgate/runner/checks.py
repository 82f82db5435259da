"""Health checks after a migration: what can be checked, and whether a value found is the value expected. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lockgate.report import CheckResult

__all__ = ["Check", "IndexCheck", "SqlCheck", "as_text", "index_result", "parse_checks", "sql_result"]

MAX_CHECKS = 50


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


Check = SqlCheck | IndexCheck


def parse_checks(text: str) -> tuple[Check, ...]:
    """Read ``spec.checks`` from JSON; ValueError says which entry is wrong. An index check is added where none is."""
    try:
        items = json.loads(text)
    except ValueError as error:
        raise ValueError("not JSON") from error
    if not isinstance(items, list) or len(items) > MAX_CHECKS:
        raise ValueError(f"not a JSON list of at most {MAX_CHECKS} checks")
    checks = tuple(_check(position, item) for position, item in enumerate(items, 1))
    if any(isinstance(check, IndexCheck) for check in checks):
        return checks
    return (IndexCheck(), *checks)


def _check(position: int, item: Any) -> Check:
    kinds = [kind for kind in ("sql", "indexes") if isinstance(item, dict) and kind in item]
    if len(kinds) != 1:
        raise ValueError(f"check {position} must have exactly one of sql, indexes")
    kind, settings = kinds[0], item[kinds[0]]
    unknown = set(item) - {"name", kind}
    if unknown:
        raise ValueError(f"check {position} has unknown keys: {', '.join(sorted(unknown))}")
    if not isinstance(settings, dict):
        raise ValueError(f"check {position}: {kind} must be an object")
    name = str(item.get("name") or f"{kind}-{position}")
    return _sql(position, name, settings) if kind == "sql" else _indexes(position, item.get("name"), settings)


def _sql(position: int, name: str, settings: dict[str, Any]) -> SqlCheck:
    if set(settings) - {"query", "expect"} or not isinstance(settings.get("query"), str) or not settings["query"]:
        raise ValueError(f"check {position}: sql needs a query (text) and may have expect (text)")
    return SqlCheck(name, settings["query"], as_text(settings.get("expect", "true")))


def _indexes(position: int, name: str | None, settings: dict[str, Any]) -> IndexCheck:
    ignore = settings.get("ignore", [])
    if set(settings) - {"ignore"} or not isinstance(ignore, list) or not all(isinstance(n, str) for n in ignore):
        raise ValueError(f"check {position}: indexes may have ignore (a list of names, or '*')")
    return IndexCheck(name or "indexes", tuple(ignore))


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
