"""Tab completes commands, flags and choices, in the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from terminal_screen import TerminalScreen

from lockgate.runner.command_line import execute
from lockgate.runner.invocation.options import COMMANDS, OPTIONS


def _need(shell):
    if shutil.which(shell) is None:
        message = f"no {shell}: `make shells` installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture
def script(tmp_path, capsys):
    """Write the script for a shell, as the user's shell would read it."""

    def write(shell):
        _need(shell)
        assert execute(["completion", shell]) == 0
        (tmp_path / "script").write_text(capsys.readouterr().out)
        (tmp_path / "alembic-shop.ini").touch()
        return tmp_path

    return write


@pytest.fixture
def typed(script):
    """Start a shell on a terminal and type."""
    screens, processes = [], []

    def start(shell, *command, prepare):
        folder = script(shell)
        screen = TerminalScreen(100, 20)
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "xterm", "PS1": "ready> "}
        process = screen.start(folder, shell, *command, **environ)
        screens.append(screen)
        processes.append(process)
        screen.shows("ready>")
        screen.type(prepare + "\nclear\n")
        return screen

    yield start
    for process in processes:
        process.kill()
        process.wait()
    for screen in screens:
        screen.close()


SHELLS = {
    "bash": (("--norc", "--noprofile", "-i"), ". ./script; bind 'set bell-style none'"),
    "zsh": (("-f", "-i"), "autoload -U compinit; compinit -u -D; unsetopt beep; . ./script"),
}


@pytest.mark.parametrize(
    ("keys", "completed"),
    [
        ("lockgate mig\t", "lockgate migrate"),
        ("lockgate migrate --ddl-lock-t\t", "lockgate migrate --ddl-lock-timeout"),
        ("lockgate check --output j\t", "lockgate check --output json"),
        ("lockgate check --output=j\t", "lockgate check --output=json"),
        ("lockgate status --database-ahead B\t", "lockgate status --database-ahead Block"),
        ("lockgate plan --config al\t", "lockgate plan --config alembic-shop.ini"),
        ("lockgate unlock --y\t", "lockgate unlock --yes"),
        ("lockgate completion z\t", "lockgate completion zsh"),
    ],
)
@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_what_was_begun(shell, keys, completed, typed):
    command, prepare = SHELLS[shell]
    screen = typed(shell, *command, prepare=prepare)
    screen.type(keys)

    screen.shows(f"ready> {completed}")


def _fish(folder, line):
    answer = subprocess.run(
        ["fish", "--no-config", "-c", f"source script; complete -C {line!r}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "dumb"},
    )
    return {row.partition("\t")[0] for row in answer.stdout.splitlines()}


def test_fish_knows_commands_flags_choices_and_files(script):
    folder = script("fish")

    assert _fish(folder, "lockgate ") >= {*COMMANDS, "completion"}
    assert _fish(folder, "lockgate migrate --ddl-lock-t") == {"--ddl-lock-timeout"}
    assert _fish(folder, "lockgate check --output ") == {"plain", "json"}
    assert _fish(folder, "lockgate check --output=j") == {"--output=json"}
    assert _fish(folder, "lockgate plan --config al") == {"alembic-shop.ini"}
    assert _fish(folder, "lockgate completion ") == {"bash", "zsh", "fish"}
    for command in COMMANDS:
        flags = {option.flag for option in OPTIONS if command in option.commands and not option.positional}
        assert _fish(folder, f"lockgate {command} --") == {*flags, "--help"}
