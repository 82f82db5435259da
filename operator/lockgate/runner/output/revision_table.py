"""What the terminal shows of a run: its revisions, and how far each is. State, and the lines that show it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from lockgate.report import Progress, Report
from lockgate.runner.durations import spoken
from lockgate.runner.output.terminal_text import fitted, visible, width_of

__all__ = ["RevisionTable", "Row", "Style"]

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
_ASCII = {WAITING: ".", DONE: "+", FAILED: "x"}
_SIGNS = {WAITING: "·", DONE: "✓", FAILED: "✗"}
_COLOURS = {WAITING: "2", RUNNING: "36", DONE: "32", FAILED: "31"}
WIDEST = 110
"""Columns of the table at most: beyond that, the eye does not find the time that belongs to a revision."""
REST = 3
"""How many of the revisions that were not reached the final table names."""


@dataclass
class Row:
    """One revision of one version table."""

    table: str
    revision: str
    message: str
    state: str = WAITING
    started: float = 0.0
    seconds: float = 0.0
    word: str = ""
    """``failed`` or ``stopped``, where it did not end well; stands in the place of its time."""


class Style(NamedTuple):
    """What the terminal can show."""

    unicode: bool = True
    colour: bool = True

    def sign(self, state: str, now: float) -> str:
        """Return the sign of a state; that of a running revision moves."""
        if state == RUNNING:
            frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if self.unicode else "|/-\\"
            return frames[int(now * 8) % len(frames)]
        return (_SIGNS if self.unicode else _ASCII)[state]

    def paint(self, text: str, colour: str) -> str:
        """Return the text in a colour, where colours are wanted."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colour and text else text

    @property
    def more(self) -> str:
        """What stands for something that was left out."""
        return "…" if self.unicode else "..."


@dataclass
class RevisionTable:
    """All revisions of the run, and what is going on. Times are those of one monotonic clock, in seconds."""

    started: float
    rows: list[Row] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    note: str = ""
    """The last sentence about what hinders the run."""
    _table: str = ""
    _known: dict[tuple[str, str], Row] = field(default_factory=dict)
    _widths: tuple[int, int] = (0, 0)
    """Columns of the table's name, where there are several, and of the revision."""
    _message: int = 0
    """Columns of the longest message."""

    def plan(self, table: str, revisions: Iterable[tuple[str, str]]) -> None:
        """Take up what is to be applied to a version table; what is known already waits again."""
        self._table = table
        for revision, message in revisions:
            row = self._known.get((table, revision))
            if row is None:
                row = self._known[table, revision] = Row(table, visible(revision), visible(message))
                self.rows.append(row)
            row.state = WAITING
        tables, names = ({getattr(row, name) for row in self.rows} for name in ("table", "revision"))
        several = max(map(width_of, tables)) if len(tables) > 1 else 0
        self._widths = min(several, 30), min(max(map(width_of, names), default=0), 32)
        self._message = max((width_of(row.message) for row in self.rows), default=0)

    def tell(self, event: str, sentence: str, progress: Progress, now: float) -> None:
        """Take up an event, which is one of the narrator's."""
        self.progress = progress
        self.note = sentence if event in ("connecting", "retrying", "clearing") else ""
        running = self.running
        if event in ("applying", "undoing"):
            row = self._known.get((self._table, f"{progress.step} ".split(" ")[1]))
            if row is not None:
                row.state, row.started = RUNNING, now
        elif event in ("applied", "undone") and running is not None:
            running.state, running.seconds = DONE, now - running.started
        elif event == "retrying" and running is not None:
            running.state = WAITING

    @property
    def running(self) -> Row | None:
        """The revision that runs now."""
        return next((row for row in self.rows if row.state == RUNNING), None)

    def settle(self, report: Report, now: float) -> None:
        """Enter what the report knows for certain."""
        for row in self.rows:
            failed = report.failure is not None and row.revision == report.failure.revision and row.state != DONE
            if row.state == RUNNING or failed:
                row.seconds, row.state = now - row.started, FAILED
                row.word = "stopped" if report.outcome == "Interrupted" else "failed"

    def lines(self, width: int, height: int, now: float, style: Style) -> list[str]:
        """Return at most ``height`` lines of ``width`` columns: a window of the table, and what goes on below it."""
        below = self._below(width, now, style)[: max(height - 1, 1)]  # a low terminal still shows what runs
        return [*self._window(width, height - len(below), now, style), *below]

    def final(self, width: int, style: Style) -> list[str]:
        """Return what stays: all that was done or failed, and the first of what was not reached."""
        reached = [row for row in self.rows if row.state != WAITING]
        rest = [row for row in self.rows if row.state == WAITING]
        shown = [*reached, *(rest if len(rest) <= REST + 1 else rest[:REST])]
        lines = [self._line(row, width, 0.0, style) for row in shown]
        return lines + _left_out(len(self.rows) - len(shown), "not reached", width, style)

    def _window(self, width: int, height: int, now: float, style: Style) -> list[str]:
        rows = self.rows
        if len(rows) <= height:
            return [self._line(row, width, now, style) for row in rows]
        if height < 3:
            active = [row for row in (self.running,) if row is not None and height > 0]
            return [self._line(row, width, now, style) for row in active]
        room = height - 2
        first = next((index for index, row in enumerate(rows) if row.state in (WAITING, RUNNING)), len(rows))
        start = max(0, min(first - room // 3, len(rows) - room))
        return [
            *_left_out(start, "done", width, style),
            *(self._line(row, width, now, style) for row in rows[start : start + room]),
            *_left_out(len(rows) - start - room, "more", width, style),
        ]

    def _line(self, row: Row, width: int, now: float, style: Style) -> str:
        room = min(width, WIDEST) - 4
        seconds = max(now - row.started, 0.0) if row.state == RUNNING else row.seconds
        time = row.word or ("" if row.state == WAITING else spoken(seconds))
        columns = [(value, size) for value, size in zip((row.table, row.revision), self._widths, strict=True) if size]
        text = "  ".join(fitted(value, size, pad=True, more=style.more) for value, size in columns)
        sign = style.paint(style.sign(row.state, now), _COLOURS[row.state])
        if room > 20:
            longest = width_of(text) + 2 + self._message
            text = fitted(f"{text}  {row.message}", min(longest, room - 9), pad=True, more=style.more)
            text = f"{text}  {time:>7}"
        line = fitted(text, room, more=style.more)
        return f"  {sign} {style.paint(line, '2') if row.state == WAITING else line}"

    def _below(self, width: int, now: float, style: Style) -> list[str]:
        progress, room = self.progress, width - 2
        done = sum(row.state == DONE for row in self.rows)
        parts = [
            f"{done}/{len(self.rows)} done" if self.rows else "starting",
            spoken(max(round(now - self.started), 1)),
        ]
        if progress.attempt > 1:
            parts.append(f"attempt {progress.attempt}")
        if progress.verifying:
            parts.append("verifying")
        percent = "" if progress.percent is None else f"{progress.percent}%  "
        waiting = f"waiting for {progress.waiting_for}" if progress.waiting_for else ""
        lines = [
            style.paint(fitted(", ".join(parts), room, more=style.more), "1"),
            style.paint(fitted(f"{percent}{progress.statement}", room, more=style.more), "2"),
            style.paint(fitted(self.note or waiting, room, more=style.more), "33"),
        ]
        return [f"  {line}" for line in lines if line]


def _left_out(count: int, what: str, width: int, style: Style) -> list[str]:
    text = fitted(f"{style.more} {count} {what}", width - 4, more=style.more)
    return [f"    {style.paint(text, '2')}"] if count > 0 and text else []
