"""`lockgate migrate` on a real terminal: a table that can be read while it runs, and when it has ended."""

from __future__ import annotations

import os
import sys

import pytest
from terminal_screen import TerminalScreen

LOCKGATE = (sys.executable, "-P", "-c", "from lockgate.runner.command_line import main; main()", "migrate")
# Waiting for an advisory lock is waiting for a lock: here it is no reason to try again.
PATIENT = {"LOCKGATE_DDL_LOCK_TIMEOUT": "0s"}
# One revision that waits until it is let go, so that a test can look at it while it runs.
WAITS = '''"""wait for {name}"""
from alembic import op
revision, down_revision = {name!r}, {before!r}
def upgrade():
    print("env.py speaks of {name}")
    op.execute("SELECT pg_advisory_xact_lock({number})")
'''


@pytest.fixture
def held(project, database):
    """Make a history of three revisions that wait for locks, all of which this session holds."""
    folder = project("sync")
    (folder / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s/migrations\nversion_locations = %(here)s/versions\n"
    )
    (folder / "versions").mkdir()
    for number in (1, 2, 3):
        before = f"w{number - 1}" if number > 1 else None
        text = WAITS.format(name=f"w{number}", before=before, number=number)
        (folder / "versions" / f"w{number}.py").write_text(text)
    with database.connect(autocommit=True) as connection:
        for number in (1, 2, 3):
            connection.execute(f"SELECT pg_advisory_lock({number})")
        yield folder, lambda number: connection.execute(f"SELECT pg_advisory_unlock({number})")


@pytest.fixture
def environ(database):
    inherited = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
    terminal = {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    return {**inherited, **terminal, **PATIENT, "DATABASE_URL": database.url()}


@pytest.fixture
def screen():
    made = TerminalScreen(90, 20)
    yield made
    made.close()


def test_the_table_tells_what_is_done_what_runs_and_what_it_waits_for(screen, held, environ):
    folder, let_go = held
    process = screen.start(folder, *LOCKGATE, **environ)

    screen.shows("0/3 done", "SELECT pg_advisory_xact_lock(1)", "waiting for lock held by pid")
    let_go(1)
    lines = screen.shows("1/3 done", "SELECT pg_advisory_xact_lock(2)")
    assert lines[:2] == ["env.py speaks of w1", "env.py speaks of w2"]
    assert [line.split()[1:4] for line in lines[2:5]] == [
        ["w1", "wait", "for"],
        ["w2", "wait", "for"],
        ["w3", "wait", "for"],
    ]
    assert "✓" in lines[2]
    assert "·" in lines[4]
    let_go(2)
    let_go(3)

    assert screen.ended(process) == 0
    said = [line for line in screen.everything if line]
    assert said[:3] == [f"env.py speaks of w{number}" for number in (1, 2, 3)]
    assert [line.split()[:2] for line in said[3:6]] == [["✓", "w1"], ["✓", "w2"], ["✓", "w3"]]
    assert said[6:] == [
        "lockgate: Migrated: Applied 3 revisions: the database is at w3.",
        "  check revision: passed",
        "  check indexes: passed",
    ]


def test_ctrl_c_ends_the_run_and_leaves_a_readable_screen(screen, held, environ, database):
    folder, let_go = held
    process = screen.start(folder, *LOCKGATE, **environ)
    let_go(1)
    screen.shows("1/3 done", "SELECT pg_advisory_xact_lock(2)")
    screen.type("\x03")

    assert screen.ended(process) == 30
    said = [line for line in screen.lines if line]
    assert [line.split()[:2] for line in said[2:5]] == [["✓", "w1"], ["✗", "w2"], ["·", "w3"]]
    assert said[3].endswith("stopped")
    assert said[5].startswith("lockgate: Interrupted: ")
    assert database.value("SELECT version_num FROM alembic_version") == "w1"


def test_a_run_that_has_nothing_to_do_draws_nothing_that_stays(screen, project, run, environ):
    folder = project("sync")
    run(folder)

    assert screen.ended(screen.start(folder, *LOCKGATE, **environ)) == 0
    assert screen.lines[0].startswith("lockgate: NothingToDo: ")


@pytest.mark.parametrize(
    ("arguments", "more"), [((), {"CI": "true"}), ((), {"TERM": "dumb"}), (("--output", "json"), {})]
)
def test_where_nobody_watches_there_are_lines(screen, project, environ, arguments, more):
    assert screen.ended(screen.start(project("sync"), *LOCKGATE, *arguments, **{**environ, **more})) == 0

    assert b"\x1b" not in screen.raw
    first = b'{"lockgate":"progress"' if arguments else b"lockgate: 4 revisions to apply to alembic_version"
    assert screen.raw.startswith(first)


def test_a_program_that_reads_the_output_gets_lines(project, start):
    said = start(project("sync"), LOCKGATE_OUTPUT="plain", TERM="xterm").end().output

    assert "\x1b" not in said
    assert "lockgate: applying 1/4 r1" in said


def test_a_downgrade_is_a_table_too(screen, project, run, environ):
    folder = project("sync")
    for number in (2, 3, 4):
        with (folder.parent / "revisions" / f"r{number}.py").open("a") as file:
            file.write("\n\ndef downgrade():\n    op.execute('SELECT 1')\n")
    run(folder)
    command = (*LOCKGATE[:-1], "downgrade", "r1", "--downgrade", "Allow")

    assert screen.ended(screen.start(folder, *command, **environ)) == 0
    said = screen.everything
    assert [line.split()[1] for line in said if line.startswith("  ✓")] == ["r4", "r3", "r2"]
    assert any(line.startswith("lockgate: Downgraded: ") for line in said)
