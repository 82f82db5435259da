"""Where the report goes: the last line of the log, and the file that becomes the container's termination message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockgate.errors import Interrupted, LockgateError
from lockgate.report import Report, termination_message
from lockgate.runner.output.progress import Narrator
from lockgate.runner.output.redaction import Redactor

__all__ = ["Publisher", "report_of"]


LONGEST = 3000
"""Characters of a report's message."""


def report_of(error: LockgateError | None, *, reason: str = "", message: str = "", **found: Any) -> Report:
    """Return the report of a process that ended with this error; without one, of a success.

    ``reason`` and ``message`` are of the success, ``found`` are further fields of the report, in either case.
    """
    if error is None:
        return Report("Succeeded", reason, message, **found)
    outcome = "Interrupted" if isinstance(error, Interrupted) else "Failed"
    return Report(outcome, error.reason, str(error), exit_code=error.exit_code, retryable=error.retryable, **found)


class Publisher:
    """Publishes one report, once; call it with the report, it returns the exit code."""

    def __init__(self, narrator: Narrator, file: str) -> None:
        self._narrator = narrator
        self._file = file

    def __call__(self, report: Report, details: Mapping[str, Any] | None = None, lines: Sequence[str] = ()) -> int:
        """Write the report wherever it has to go, redacted; ``details`` (JSON) or ``lines`` (for people) go with it."""
        redact = self._narrator.redact
        report = redact.report(report)
        report = replace(report, message=_shortened(report.message))
        if self._file:
            try:
                Path(self._file).write_text(termination_message(report), encoding="utf-8")
            except OSError as error:
                # The log has it too, and the operator reads that where the message is missing.
                self._narrator.tell("unwritable", f"cannot write {self._file}: {error.strerror}")
        self._narrator.conclude(report, _redacted(redact, details or {}), [redact(line) for line in lines])
        return report.exit_code


def _shortened(message: str) -> str:
    """Cut a sentence that nobody would read to its end: a version table can hold anything."""
    return message if len(message) <= LONGEST else f"{message[:LONGEST]} ..."


def _redacted(redact: Redactor, value: Any) -> Any:
    """Redact every text in what will be JSON."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: _redacted(redact, item) for key, item in value.items()}
    return [_redacted(redact, item) for item in value] if isinstance(value, (list, tuple)) else value
