"""What a command that only looks (or unlocks) has to say: a report like a run's, and the details behind it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lockgate.errors import LockgateError
from lockgate.report import CheckResult, Report
from lockgate.runner.output.publication import outcome_of

__all__ = ["Answer", "answered", "columns"]


@dataclass(frozen=True)
class Answer:
    """A report, with what only this command knows: as further keys of the JSON, and as lines for people."""

    report: Report
    details: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


def answered(
    reason: str,
    message: str,
    *,
    error: LockgateError | None = None,
    rows: tuple[str, ...] = (),
    target: tuple[str, ...] = (),
    pending: int = 0,
    checks: tuple[CheckResult, ...] = (),
    warnings: tuple[str, ...] = (),
) -> Report:
    """Return a report of something that was found; with an ``error``, of that."""
    return Report(
        outcome=outcome_of(error),
        reason=error.reason if error else reason,
        message=str(error) if error else message,
        exit_code=error.exit_code if error else 0,
        retryable=error.retryable if error else False,
        current=rows,
        reached=rows,
        target=target,
        pending=pending,
        checks=checks,
        warnings=warnings,
    )


def columns(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return names and values as aligned lines, without those that have no value."""
    kept = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in kept), default=0)
    return tuple(f"  {name:<{width}}  {value}" for name, value in kept)
