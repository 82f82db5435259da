"""What a command that only looks (or unlocks) has to say: a report like a run's, and the details behind it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lockgate.errors import LockgateError
from lockgate.report import Report
from lockgate.runner.output.publication import report_of

__all__ = ["Answer", "answered", "columns"]


@dataclass(frozen=True)
class Answer:
    """A report, with what only this command knows: as further keys of the JSON, and as lines for people."""

    report: Report
    details: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


def answered(
    reason: str, message: str, *, error: LockgateError | None = None, rows: tuple[str, ...] = (), **found: Any
) -> Report:
    """Return a report of something that was found; with an ``error``, of that.

    ``rows`` are those of the version table, ``found`` are further fields of the report.
    """
    return report_of(error, reason=reason, message=message, current=rows, reached=rows, **found)


def columns(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return names and values as aligned lines, without those that have no value."""
    kept = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in kept), default=0)
    return tuple(f"  {name:<{width}}  {value}" for name, value in kept)
