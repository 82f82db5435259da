"""Goes on with a run in a fresh process, where what has been loaded cannot be loaded a second time.

Some revision files and env.py files define a table on a Base of the application, or register a metric: what they import
stays loaded, and the second time that is an error. The process then becomes another one (execve): its number stays,
which matters to a container; its sessions end, and with them its locks. What the run knows is handed over in a file
without a name, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple, NoReturn

from lockgate.errors import MigrationFailed

__all__ = ["LoadedTwice", "can_go_on", "go_on", "let_signals_in", "remember_start", "taken_over"]

VARIABLE = "LOCKGATE_TAKES_OVER"
"""The number of the descriptor: a variable that only one process sets, for itself."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class LoadedTwice(Exception):
    """What was loaded in this process once cannot be loaded in it again."""

    def __init__(self, orig: MigrationFailed) -> None:
        """Take the error that is reported where no fresh process helps."""
        self.orig = orig
        super().__init__(str(orig))


class _Start(NamedTuple):
    """How this process was started: env.py may change all of it."""

    environ: Mapping[str, str]
    folder: str
    arguments: tuple[str, ...]


_start: list[_Start] = []
_taken_over: list[dict[str, Any]] = []


def remember_start(environ: MutableMapping[str, str]) -> None:
    """Take note of how this process was started, and of what it takes over; for a process that is all ours."""
    number = environ.pop(VARIABLE, "")
    if number.isdigit():
        _taken_over.append(_read(int(number)))
    _start.append(_Start(dict(environ), os.getcwd(), (sys.executable, *sys.orig_argv[1:])))


def taken_over() -> Mapping[str, Any]:
    """Return what another process has handed over; nothing where this is the first."""
    return _taken_over[0] if _taken_over else {}


def can_go_on() -> bool:
    """Return whether it is known how this process was started."""
    return bool(_start)


def go_on(state: Mapping[str, Any]) -> NoReturn:
    """Become a fresh process that takes over this state; raises OSError where the system refuses."""
    start = _start[0]
    descriptor = _written(json.dumps(state).encode())
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    # One that comes now is kept until the fresh process can answer it: nobody would, in between.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        os.chdir(start.folder)
        environ = {**start.environ, VARIABLE: str(descriptor)}
        os.execve(start.arguments[0], start.arguments, environ)  # noqa: S606  # the same command line again
    finally:
        let_signals_in()


def let_signals_in() -> None:
    """Let the signals in that were kept back while this process began."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _written(content: bytes) -> int:
    """Return the descriptor of a file without a name that has this content, open for the process that follows."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("lockgate")
        os.write(descriptor, content)
    else:
        import tempfile  # noqa: PLC0415  # hardly ever needed, and slow to import

        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.flush()
            descriptor = os.dup(file.fileno())
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.set_inheritable(descriptor, True)
    return descriptor


def _read(descriptor: int) -> dict[str, Any]:
    try:
        with open(descriptor, "rb") as file:
            found = json.loads(file.read())
    except (OSError, ValueError):
        return {}  # the variable was set by somebody else
    return found if isinstance(found, dict) else {}
