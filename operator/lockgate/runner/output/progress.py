"""Tells on the way what the run does: one line per event, as JSON for the operator or plain for people."""

from __future__ import annotations

import json
import re
import sys
import textwrap
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Protocol, TextIO

from lockgate.report import Failure, Progress, Report, progress_line, report_line
from lockgate.runner.durations import spoken
from lockgate.runner.output.redaction import Redactor

__all__ = ["Narrator"]

STATEMENT_LIMIT = 300
"""Characters of a statement that a progress line shows."""


class View(Protocol):
    """Something that shows a run while it goes on; it gets nothing that is not redacted."""

    def plan(self, table: str, revisions: Sequence[tuple[str, str]]) -> None:
        """Show these revisions, each with its message."""

    def tell(self, event: str, sentence: str, progress: Progress) -> bool:
        """Show an event; False where its sentence needs a line of its own."""

    def close(self, report: Report) -> None:
        """Show how it ended: nothing comes after that."""


class Narrator:
    """Holds the newest `Progress`, redacts it and writes it; any thread may tell."""

    def __init__(
        self,
        *,
        output: str,
        redact: Redactor,
        stream: TextIO | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        view: View | None = None,
    ) -> None:
        self._json = output == "json"
        self.redact = redact
        self._stream = stream or sys.stdout
        self._now = now
        self._view = view
        self._lock = threading.RLock()
        self._ended = False
        self._line_before = ""
        self.progress = Progress()

    def tell(self, event: str, sentence: str = "", more: Mapping[str, Any] | None = None, **changes: Any) -> None:
        """Change the progress and write a line about it; in plain output only where there is a ``sentence``.

        ``more``: further keys of the JSON, which are not part of the progress, and redacted already.
        """
        with self._lock:
            if "statement" in changes:
                changes["statement"] = " ".join(self.redact(changes["statement"]).split())[:STATEMENT_LIMIT]
            self.progress = replace(self.progress, **changes)
            if self._json:
                self._write(progress_line(self._time(), event, self.redact.progress(self.progress), **(more or {})))
            elif not self._shown(event, sentence) and sentence:
                line = f"lockgate: {self.redact(sentence)}"
                if line != self._line_before:  # a database that is away is asked again and again
                    self._write(line)
                self._line_before = line

    def plan(self, table: str, revisions: Sequence[tuple[str, str]]) -> None:
        """Name the revisions (each with its message) that will be applied to this version table, in order."""
        with self._lock:
            if self._view is not None and not self._ended:
                self._view.plan(table, [(revision, self.redact(message)) for revision, message in revisions])

    def _shown(self, event: str, sentence: str) -> bool:
        if self._view is None or self._ended:
            return False
        return self._view.tell(event, self.redact(sentence), self.redact.progress(self.progress))

    def conclude(self, report: Report, details: Mapping[str, Any] | None = None, lines: Sequence[str] = ()) -> bool:
        """Write the report, the last thing that is ever written; False where that was done already.

        ``details`` are further keys of the JSON, ``lines`` the same for people.
        """
        with self._lock:
            if self._ended:
                return False
            if self._json:
                text = report_line(report)
                self._write(json.dumps({**json.loads(text), **details}, separators=(",", ":")) if details else text)
            else:
                if self._view is not None:
                    self._view.close(report)
                self._write("\n".join((summary(report, applied=self._view is None), *lines)))
            self._ended = True
            return True

    def _time(self) -> str:
        return self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _write(self, line: str) -> None:
        if self._ended:
            return
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # Nobody reads any more (a closed pipe, a stream that env.py closed): no reason to stop a migration.
            pass


def summary(report: Report, *, applied: bool = True) -> str:
    """Return the report for people; without what was ``applied`` where they have seen that."""
    lines = [f"lockgate: {report.reason}: {report.message}"]
    done = report.applied if applied else ()
    lines += [f"  applied {step.revision} {step.message} ({spoken(step.seconds)})" for step in done]
    back = report.undone if applied else ()
    lines += [f"  took back {step.revision} {step.message} ({spoken(step.seconds)})" for step in back]
    if report.failure:
        lines += _unsaid(report.failure, report.message)
    lines += [f"  check {check.name}: {'passed' if check.passed else check.message}" for check in report.checks]
    lines += [f"  warning: {warning}" for warning in report.warnings]
    return "\n".join(lines)


def _unsaid(failure: Failure, message: str) -> list[str]:
    """Return what the message does not say already, as lines."""
    error = _PLACE.sub("", failure.error)
    parts = (
        ("revision", failure.revision if failure.revision not in message else ""),
        ("statement", _as_block(failure.statement)),
        ("sqlstate" if len(failure.sqlstate) == 5 else "code", failure.sqlstate),
        ("error", failure.error if error not in message else ""),
        *(("committed", " ".join(statement.split())) for statement in failure.committed),
    )
    return [f"  {name}: {value}" for name, value in parts if value and not (name == "committed" and value in message)]


_PLACE = re.compile(r" \([^()]*:[0-9]+\)$")
"""The file and line at the end of a failure's error."""


def _as_block(statement: str) -> str:
    """Return a statement of several lines indented, below its name; one of a single line as it is."""
    lines = textwrap.dedent(statement.expandtabs(4)).strip("\n").rstrip().splitlines()
    return lines[0] if len(lines) == 1 else "".join(f"\n    {line}".rstrip() for line in lines)
