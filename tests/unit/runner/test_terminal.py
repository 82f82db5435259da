"""On a terminal a run is a table that moves; what others print stays above it, and the end of it stays readable."""

from __future__ import annotations

import io
import os
import re
import sys
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from terminal_screen import TerminalScreen

from lockgate.report import Applied, Failure, Progress, Report
from lockgate.runner.output.progress import Narrator
from lockgate.runner.output.publication import Publisher
from lockgate.runner.output.redaction import Redactor
from lockgate.runner.output.revision_table import RevisionTable, Style
from lockgate.runner.output.terminal import Terminal, open_terminal, suits
from lockgate.runner.output.terminal_text import fitted, width_of

HISTORY = tuple((f"r{number:03}", f"step number {number}") for number in range(1, 301))


class Shown:
    """A narrator whose view is a terminal, and the screen of that."""

    def __init__(self, screen, narrator):
        self.screen, self.narrator = screen, narrator

    def applies(self, first, last, total, *, ends=True):
        for number in range(first, last + 1):
            self.narrator.tell("applying", "", step=f"{number}/{total} r{number:03} step number {number}", statement="")
            if ends or number < last:
                self.narrator.tell("applied", "", pending=total - number, statement="")

    def ends(self, report):
        Publisher(self.narrator, "")(report)


@pytest.fixture
def shown(monkeypatch):
    """Open terminals of any size, with ``sys.stdout`` on them."""
    made = []

    @contextmanager
    def begin(columns=80, lines=24, secret="", **environ):
        screen = TerminalScreen(columns, lines)
        stream = open(os.dup(screen.slave), "w", encoding=environ.pop("encoding", "utf-8"))  # noqa: SIM115
        monkeypatch.setattr(sys, "stdout", stream)
        view = open_terminal({"TERM": "xterm", **environ})
        made.append((view, stream, screen))
        try:
            yield Shown(screen, Narrator(output="plain", redact=Redactor([secret]), view=view))
        finally:
            view.close(Report("Failed", "", ""))
            stream.close()
            screen.close()

    return begin


def test_a_long_history_is_a_window_around_what_runs(shown):
    with shown(60, 12) as run:
        run.narrator.plan("public.alembic_version", HISTORY)
        run.applies(1, 281, 300, ends=False)

        lines = run.screen.shows("… 278 done", "r281  step number 281", "… 14 more", "280/300 done")
        assert len(lines) <= 11
        assert any("✓ r280" in line for line in lines)


def test_what_is_printed_meanwhile_stays_above_and_the_table_is_there_once(shown):
    with shown(70, 16) as run:
        run.narrator.plan("public.alembic_version", HISTORY[:5])
        for number in range(1, 6):
            run.applies(number, number, 5)
            print(f"env.py says {number}")
        run.narrator.tell("unwritable", "cannot write a file")
        lines = run.screen.shows("5/5 done", "env.py says 5", "lockgate: cannot write a file")

        assert lines[:6] == [*(f"env.py says {number}" for number in range(1, 6)), "lockgate: cannot write a file"]
        assert [line[4:8] for line in lines[6:11]] == [f"r{number:03}" for number in range(1, 6)]
        assert len(lines) == 12


def test_half_a_line_such_as_a_question_is_not_drawn_over(shown):
    with shown() as run:
        run.narrator.plan("public.alembic_version", HISTORY[:2])
        run.screen.shows("0/2 done")
        sys.stdout.write("Really? ")
        sys.stdout.flush()
        run.screen.shows("Really?")
        run.applies(1, 1, 2)
        assert run.screen.lines == ["Really?"]

        sys.stdout.write("yes\n")
        assert run.screen.shows("1/2 done")[0] == "Really? yes"


def test_the_end_stays_readable_with_all_that_was_done_and_what_failed(shown):
    with shown(70, 10) as run:
        run.narrator.plan("public.alembic_version", HISTORY[:20])
        run.applies(1, 12, 20, ends=False)
        run.screen.shows("11/20 done")
        applied = tuple(Applied(f"r{number:03}") for number in range(1, 12))
        failure = Failure("r012", statement="SELECT 1/0")
        run.ends(Report("Failed", "MigrationFailed", "It failed.", 20, applied=applied, failure=failure))
        run.screen.shows("statement: SELECT 1/0")

        said = run.screen.everything
        table = [line.split()[:2] for line in said if re.search(r" r\d\d\d ", line)]
        assert table == [
            *(["✓", f"r{number:03}"] for number in range(1, 12)),
            ["✗", "r012"],
            *(["·", f"r{number:03}"] for number in range(13, 16)),
        ]
        assert said[-4:] == [
            "    … 5 not reached",
            "lockgate: MigrationFailed: It failed.",
            "  revision: r012",
            "  statement: SELECT 1/0",
        ]
        assert sys.stdout.isatty()
        assert not hasattr(sys.stdout, "_terminal")


def test_a_terminal_that_is_resized_loses_nothing_that_was_printed(shown):
    with shown(80, 20) as run:
        for number in range(3):
            print(f"line {number}")
        run.narrator.plan("public.alembic_version", HISTORY[:30])
        run.applies(1, 4, 30)
        run.screen.shows("4/30 done")
        for columns, lines, more in ((40, 20, 14), (120, 20, 14), (50, 9, 22), (80, 30, 4)):
            run.screen.resize(columns, lines)
            run.screen.shows("4/30 done", f"… {more} more")
        run.ends(Report("Succeeded", "Migrated", "Done."))
        run.screen.shows("lockgate: Migrated")

        assert [line for line in run.screen.everything if line.startswith("line ")] == ["line 0", "line 1", "line 2"]
        assert run.screen.lines[-1] == "lockgate: Migrated: Done."


def test_a_message_cannot_steer_the_terminal_nor_show_a_secret(shown):
    with shown(secret="postgresql://shop:s3cret@db/shop") as run:
        run.narrator.plan("public.alembic_version", [("a1", "gone\x1b[2J\r\nstill\u202e here s3cret")])
        run.narrator.tell("running", "", statement="SELECT 's3cret\x1b[31m'", waiting_for="lock held by pid 7\x07")
        run.screen.shows("gone [2J still  here ***", "waiting for lock held by pid 7")

        assert b"s3cret" not in run.screen.raw
        assert b"\x1b[2J" not in run.screen.raw
        assert b"\x07" not in run.screen.raw


def test_several_version_tables_are_told_apart(shown):
    with shown() as run:
        for schema in ("ann", "bob"):
            run.narrator.plan(f"{schema}.alembic_version", HISTORY[:2])
            run.applies(1, 2, 2)

        lines = run.screen.shows("4/4 done")
        assert [line.split()[1:3] for line in lines[:4]] == [
            [f"{schema}.alembic_version", revision] for schema in ("ann", "bob") for revision in ("r001", "r002")
        ]


def test_a_terminal_of_few_signs_and_no_colours_gets_neither(shown):
    with shown(encoding="ascii", NO_COLOR="1") as run:
        run.narrator.plan("public.alembic_version", [("r001", "größer"), ("r002", "later")])
        run.applies(1, 1, 2)
        run.screen.shows("+ r001  gr??er", ". r002  later", "1/2 done")

        assert b"\x1b[3" not in run.screen.raw
        assert run.screen.raw.isascii()


class _Looked(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {}, {"TERM": "xterm", "CI": "true"}])
def test_a_terminal_that_nobody_looks_at_gets_plain_lines(environ):
    assert suits(_Looked(), {"TERM": "xterm", "CI": "false"})
    assert not suits(_Looked(), environ)
    assert not suits(io.StringIO(), {"TERM": "xterm"})
    assert not suits(None, {"TERM": "xterm"})


def test_a_terminal_that_goes_away_stops_nothing():
    stream = io.StringIO()
    terminal = Terminal(stream, {})
    stream.close()

    terminal.tell("applying", "", Progress(step="1/1 r001"))
    terminal.close(Report("Succeeded", "Migrated", ""))


ANSI = re.compile(r"\x1b\[\d+m")


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.text(max_size=3), st.text(max_size=40), st.text(max_size=90)), max_size=60),
    st.lists(st.tuples(st.sampled_from(["applying", "applied", "retrying", "running"]), st.text()), max_size=30),
    st.integers(1, 200),
    st.integers(1, 60),
    st.builds(Style, st.booleans(), st.booleans()),
)
def test_the_table_fits_any_terminal(rows, events, width, height, style):
    table = RevisionTable(started=0.0)
    for name, revision, message in rows:
        table.plan(name, [(revision, message)])
    for event, text in events:
        table.tell(event, text, Progress(step=text, statement=text, waiting_for=text, percent=7), 1.0)

    lines = table.lines(width, height, 61.5, style)

    assert len(lines) <= height
    table.settle(Report("Failed", "", "", failure=Failure("r1")), 62.0)
    for line in [*lines, *table.final(width, style)]:
        assert width_of(ANSI.sub("", line)) <= max(width, 4)


@given(st.text(), st.integers(0, 50))
def test_text_that_is_fitted_has_exactly_the_columns_that_it_may_have(text, width):
    assert width_of(fitted(text, width)) <= width
    assert width_of(fitted(text, width, pad=True)) == width
