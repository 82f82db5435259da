"""Where the report goes: the last line of the log, and the file that becomes the container's termination message."""

from __future__ import annotations

from pathlib import Path

from lockgate.errors import Interrupted, LockgateError
from lockgate.report import Report, termination_message
from lockgate.runner.progress import Narrator

__all__ = ["Publisher", "outcome_of", "plain_report"]


def outcome_of(error: LockgateError | None) -> str:
    """Return the report's word for how the process ended."""
    if error is None:
        return "Succeeded"
    return "Interrupted" if isinstance(error, Interrupted) else "Failed"


def plain_report(error: LockgateError) -> Report:
    """Return the report of a run that ended before it began."""
    return Report(outcome_of(error), error.reason, str(error), exit_code=error.exit_code, retryable=error.retryable)


class Publisher:
    """Publishes one report, once; call it with the report, it returns the exit code."""

    def __init__(self, narrator: Narrator, file: str) -> None:
        self._narrator = narrator
        self._file = file

    def __call__(self, report: Report) -> int:
        """Write the report wherever it has to go, redacted."""
        report = self._narrator.redact.report(report)
        if self._file:
            try:
                Path(self._file).write_text(termination_message(report), encoding="utf-8")
            except OSError as error:
                # The log has it too, and the operator reads that where the message is missing.
                self._narrator.tell("unwritable", f"cannot write {self._file}: {error.strerror}")
        self._narrator.conclude(report)
        return report.exit_code
