"""Draws the table of revisions below everything else on a terminal, and again when something was printed.

Only moves within the lines that it has drawn itself: what was printed before, by whomever, is never touched, and the
cursor stays visible, so that a killed process leaves a terminal in order. What writes past ``sys.stdout`` and
``sys.stderr``, such as a program that env.py starts, can be drawn over.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO, cast

from lockgate.report import Progress, Report
from lockgate.runner.output.alembic_log import without_steps
from lockgate.runner.output.revision_table import RevisionTable, Style

__all__ = ["Terminal", "open_terminal", "suits"]

EVERY_SECONDS = 0.12
"""How often the table is drawn anew: often enough for a moving sign, too seldom to cost anything."""
_OF_REVISIONS = ("planned", "applying", "undoing", "running", "clearing", "retrying", "applied", "undone", "verifying")
_IN_TABLE = (*_OF_REVISIONS, "connecting", "waiting", "leading", "fenced")
"""Events that the table shows; the sentences of all others become lines above it."""


def suits(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    """Return whether a person looks at this stream on a terminal that can do more than print lines."""
    try:
        looked_at = stream is not None and stream.isatty()
    except ValueError:  # closed
        return False
    ci = environ.get("CI", "").lower() not in ("", "0", "false")
    return looked_at and not ci and environ.get("TERM", "") not in ("", "dumb")


class Terminal:
    """Shows a run on a terminal, from `open` to `close`."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._table = RevisionTable(started=clock())
        self._style = Style(unicode="utf" in (stream.encoding or "").lower(), colour=not environ.get("NO_COLOR"))
        self._lock = threading.RLock()
        self._drawn = 0
        """Lines of the table on the screen, above the cursor."""
        self._open_line = False
        """Somebody printed half a line, perhaps a question: nothing is drawn until it ends."""
        self._closed = False
        self._stop = threading.Event()
        self._replaced: dict[str, tuple[Any, Any]] = {}
        self._until_closed = contextlib.ExitStack()

    def open(self) -> None:
        """Begin to draw; whatever is printed from now on goes above the table."""
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if suits(stream, {"TERM": "any"}):
                self._replaced[name] = (stream, _Above(stream, self))
                setattr(sys, name, self._replaced[name][1])
        self._until_closed.enter_context(without_steps())  # the table says the same
        os.register_at_fork(after_in_child=self._forked)
        threading.Thread(target=self._keep_drawing, name="lockgate-terminal", daemon=True).start()

    def plan(self, table: str, revisions: Iterable[tuple[str, str]]) -> None:
        """Show these revisions of a version table."""
        with self._lock:
            self._table.plan(table, revisions)

    def tell(self, event: str, sentence: str, progress: Progress) -> bool:
        """Show an event; False where its sentence needs a line of its own."""
        with self._lock:
            self._table.tell(event, sentence, progress, self._clock())
        return event in _IN_TABLE

    def close(self, report: Report) -> None:
        """Draw the table a last time, for good, and give the streams back."""
        with self._lock:
            self._table.settle(report, self._clock())
            self._put(_lines(self._table.final(self._size()[0] - 1, self._style)))
            self._closed = True
            self._stop.set()
            self._until_closed.close()
            for name, (before, ours) in self._replaced.items():
                ours.flush()
                if getattr(sys, name) is ours:
                    setattr(sys, name, before)

    def above(self, text: str, stream: TextIO) -> None:
        """Print above the table what somebody else has to say."""
        with self._lock:
            if self._closed:
                stream.write(text)
                stream.flush()
                return
            self._put("")
            stream.write(text)
            stream.flush()
            self._open_line = not text.endswith("\n")
            self._draw()

    def _keep_drawing(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            with self._lock:
                if not self._closed:
                    self._draw()

    def _draw(self) -> None:
        if self._open_line:
            return
        width, height = self._size()
        lines = self._table.lines(width - 1, height - 1, self._clock(), self._style)
        self._put(_lines(lines), len(lines))

    def _put(self, text: str, lines: int = 0) -> None:
        """Replace the table on the screen by ``text``, of which the last ``lines`` lines are a table."""
        # Never further up than the screen is high: beyond that, the lines are no longer where they were.
        up = min(self._drawn, self._size()[1] - 1)
        self._drawn = lines
        encoding = self._stream.encoding or "utf-8"
        text = text.encode(encoding, "replace").decode(encoding)
        try:
            # The new lines over the old ones, then nothing below them: clearing first would flicker.
            self._stream.write(f"\r\x1b[{up}A{text}\x1b[J" if up else text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # the terminal is gone: no reason to stop a migration

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return 80, 24
        return size.columns or 80, size.lines or 24

    def _forked(self) -> None:
        """Leave the terminal to the parent; another of its threads may have held the lock."""
        self._lock = threading.RLock()
        self._closed = True


def _lines(lines: Iterable[str]) -> str:
    """Return the lines such that nothing of what they are drawn over is left."""
    return "".join(f"{line}\x1b[K\n" for line in lines)


class _Above:
    """Stands in for ``sys.stdout`` or ``sys.stderr``: whole lines go above the table."""

    def __init__(self, stream: TextIO, terminal: Terminal) -> None:
        self._stream = stream
        self._terminal = terminal
        self._line = ""

    def write(self, text: str) -> int:
        """Print whole lines; keep the rest, as a stream on a terminal does."""
        whole, newline, rest = text.rpartition("\n")
        if newline:
            whole, self._line = self._line + whole + newline, rest
            self._terminal.above(whole, self._stream)
        else:
            self._line += rest
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Print these lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Print half a line."""
        if self._line:
            text, self._line = self._line, ""
            self._terminal.above(text, self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def open_terminal(environ: Mapping[str, str]) -> Terminal | None:
    """Return a terminal that draws, where ``sys.stdout`` is one; else nothing."""
    stream = cast("TextIO | None", sys.stdout)  # None where the process has none
    if not suits(stream, environ):
        return None
    terminal = Terminal(sys.stdout, environ)
    terminal.open()
    return terminal
