"""What a runner tells about its run: `Report` at the end, `Progress` on the way. Values only, no I/O.

The report crosses the boundary between the migration pod and the operator twice: shortened to `TERMINATION_LIMIT` bytes
as the container's termination message, and whole as the last line of the log. Progress is one JSON log line per event.
Neither ever contains a credential: whoever builds them has redacted what came from outside.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

__all__ = [
    "TERMINATION_LIMIT",
    "Applied",
    "CheckResult",
    "Failure",
    "ImageTarget",
    "Progress",
    "Report",
    "fold",
    "progress_line",
    "read_report",
    "report_line",
    "termination_message",
]

TERMINATION_LIMIT = 4096
"""Bytes that the kubelet keeps of one container's termination message."""

T = TypeVar("T")

MARK = "lockgate"
"""The key by which a log line of ours is told from one that the application printed: ``report`` or ``progress``."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A revision that this run committed."""

    revision: str
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """The revision at which the run ended, as exactly as it is known."""

    revision: str = ""
    statement: str = ""
    """SQL text as sent, without parameters."""
    sqlstate: str = ""
    error: str = ""
    committed: tuple[str, ...] = ()
    """Statements of a half-applied revision that are committed, in order."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one health check found."""

    name: str
    passed: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class ImageTarget:
    """A migration image whose target the database contains, as recorded there by the run that led to it."""

    image: str
    target: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one run of ``lockgate migrate``."""

    outcome: str
    """``Succeeded`` or ``Failed`` or ``Interrupted``."""
    reason: str
    """``Migrated``, ``NothingToDo``, ``DatabaseAhead``, ``Downgraded``, or the `LockgateError.reason`."""
    message: str
    """A sentence for a person; what to do is part of it where something is to be done."""
    exit_code: int = 0
    retryable: bool = False
    current: tuple[str, ...] = ()
    """Rows of the version table before the run."""
    reached: tuple[str, ...] = ()
    """Rows of the version table after the run."""
    target: tuple[str, ...] = ()
    """Heads that the run was to reach."""
    pending: int = 0
    """Revisions that are still not applied."""
    applied: tuple[Applied, ...] = ()
    ahead: tuple[str, ...] = ()
    """Revisions that build on the target and are not the image's: what ``downgrade: Allow`` would take back."""
    undone: tuple[Applied, ...] = ()
    """Revisions that this run took back."""
    failure: Failure | None = None
    checks: tuple[CheckResult, ...] = ()
    revisions: tuple[str, ...] = ()
    """Every revision that the database now contains: `reached` and its ancestors, as far as they are known."""
    database: str = ""
    """Identifies the database, as a hash; the same after a restart or a failover. Empty where it is not known."""
    complete: bool = False
    """`reached` and `revisions` are all that the database contains: what is not among them is not there."""
    images: tuple[ImageTarget, ...] = ()
    """Other images that are known to have led to what the database contains, newest first."""
    lock_wait_seconds: float = 0.0
    seconds: float = 0.0
    attempts: int = 1
    transactions: str = ""
    """``PerRevision`` or ``AsEnvironment``: how the revisions were committed; empty where env.py was not run."""
    warnings: tuple[str, ...] = ()
    truncated: bool = False
    """True where the termination message had to leave something out: the whole report is the log's last line."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is, folded from its progress lines."""

    current: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    pending: int | None = None
    """Revisions left to apply; None until the plan is known."""
    step: str = ""
    """For example ``3/10 9f2c add orders``."""
    statement: str = ""
    percent: int | None = None
    waiting_for: str = ""
    """For example ``lock held by pid 4711 (lockgate shop/shop-7c, 2m)``; empty while nothing is waited for."""
    attempt: int = 1
    """Counts the whole-run attempts inside this pod."""
    verifying: bool = False


def report_line(report: Report) -> str:
    """Return the report as one line of JSON."""
    return json.dumps({MARK: "report", **_plain(report)}, separators=(",", ":"))


def progress_line(time: str, event: str, progress: Progress, **more: object) -> str:
    """Return one progress event as a line of JSON; ``time`` is RFC 3339, ``event`` one lower-case word.

    The line repeats the whole `Progress`, so that a reader who missed earlier lines is not misled.
    """
    record = {MARK: "progress", "time": time, "event": event, **_plain(progress), **more}
    return json.dumps(record, separators=(",", ":"))


def termination_message(report: Report) -> str:
    """Return the report as JSON of at most `TERMINATION_LIMIT` bytes, dropping the least important parts first."""
    shortened = replace(report, truncated=True)
    steps: tuple[dict[str, Any], ...] = (
        {"revisions": (), "complete": False},
        {"images": report.images[:10]},
        {"applied": report.applied[-10:], "undone": report.undone[-10:]},
        {"warnings": (), "checks": tuple(c for c in report.checks if not c.passed)[:5]},
        {"applied": (), "undone": (), "ahead": (), "checks": ()},
        {"message": report.message[:800], "failure": _short(report.failure)},
        {"current": report.current[:5], "reached": report.reached[:5], "target": report.target[:5]},
        {"images": ()},
        {"message": report.message[:100], "failure": None, "current": (), "reached": (), "target": ()},
        {"outcome": report.outcome[:50], "reason": report.reason[:50]},
    )
    text = report_line(report)
    for step in steps:
        if len(text.encode()) <= TERMINATION_LIMIT:
            break
        shortened = replace(shortened, **step)
        text = report_line(shortened)
    return text


def read_report(text: str) -> Report | None:
    """Return the last report in ``text`` (a termination message or the end of a log), or None if there is none."""
    for line in reversed(text.splitlines()):
        record = _record(line, "report")
        if record is not None:
            try:
                return _report(record)
            except (TypeError, ValueError):
                return None
    return None


def fold(lines: Iterable[str]) -> Progress | None:
    """Return the newest progress in these log lines, or None if no line is a progress line."""
    newest: Progress | None = None
    for line in lines:
        record = _record(line, "progress")
        if record is not None:
            newest = _known(Progress, record)
    return newest


def _record(line: str, kind: str) -> dict[str, Any] | None:
    start = line.find("{")
    if start < 0 or f'"{MARK}"' not in line:
        return None
    try:
        record = json.loads(line[start:])
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record.get(MARK) == kind else None


def _report(record: Mapping[str, Any]) -> Report:
    return replace(
        _known(Report, record),
        applied=tuple(_known(Applied, item) for item in _records(record.get("applied"))),
        undone=tuple(_known(Applied, item) for item in _records(record.get("undone"))),
        checks=tuple(_known(CheckResult, item) for item in _records(record.get("checks"))),
        images=tuple(_known(ImageTarget, item) for item in _records(record.get("images"))),
        failure=next((_known(Failure, item) for item in _records([record.get("failure")])), None),
    )


def _records(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _known(kind: type[T], record: Mapping[str, Any]) -> T:
    """Build ``kind`` from the keys it knows, so that older operators read newer runners and the reverse.

    A value of another type counts as not there: whatever a container printed must not stop the operator, nor get into a
    status that the API server then refuses. TypeError where something is missing that has no default.
    """
    found = {}
    for known in fields(kind):  # type: ignore[arg-type]  # T is always one of the dataclasses above
        read = _READERS.get(str(known.type))
        value = read(record[known.name]) if read and known.name in record else None
        if value is not None:
            found[known.name] = value
    return kind(**found)


def _text(value: Any) -> str | None:
    # Half a surrogate pair is valid JSON, and no text that could be written anywhere.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    return value if type(value) is int and abs(value) < 2**31 else None


def _number(value: Any) -> float | None:
    return value if type(value) in (int, float) and abs(value) < 2**31 else None  # neither NaN nor infinite


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _texts(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(text for text in map(_text, value) if text is not None)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "str": _text,
    "int": _whole,
    "int | None": _whole,
    "float": _number,
    "bool": _flag,
    "tuple[str, ...]": _texts,
}
"""By the annotation of a field, what reads its value; None where it is of another type."""


def _plain(value: Report | Progress) -> dict[str, Any]:
    """As a dict without the fields that still have their default value."""
    defaults = {f.name: f.default for f in fields(value)}
    return {key: item for key, item in asdict(value).items() if item != defaults[key]}


def _short(failure: Failure | None) -> Failure | None:
    if failure is None:
        return None
    committed = tuple(statement[:80] for statement in failure.committed[:3])
    return replace(failure, statement=failure.statement[:500], error=failure.error[:500], committed=committed)
