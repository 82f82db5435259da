"""The health check `command`: a program of the image, in the migration container, ends with 0.

It gets the pod's own environment as it is, and no input. It runs in a process group of its own, so that what it starts
ends with it: when its time is over, and when the run has to end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import IO

from lockgate.report import CheckResult
from lockgate.runner.durations import spoken
from lockgate.runner.invocation.checks import CommandCheck

__all__ = ["check_command"]

TAIL = 4096
"""Bytes of output that are kept while the command runs."""

SHOWN = 200
"""Characters of its last line that the message shows."""


def check_command(check: CommandCheck, redact: Callable[[str], str]) -> CheckResult:
    """Run the command; its last line of output, without secrets, is in the message where it fails."""
    try:
        process = subprocess.Popen(  # noqa: S603  # running a program is what the check was asked for
            check.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return CheckResult(
            check.name,
            passed=False,
            message=f"{check.command[0]} cannot be started: {error.strerror or 'unknown error'}",
        )
    assert process.stdout is not None  # noqa: S101  # a pipe was asked for
    output = _Tail(process.stdout)
    try:
        code = process.wait(timeout=check.timeout)
    except subprocess.TimeoutExpired:
        ended = f"still ran after {spoken(check.timeout)}"
    else:
        if code == 0:
            return CheckResult(check.name, passed=True)
        ended = f"exit code {code}" if code > 0 else f"ended by {_signal_name(-code)}"
    finally:
        _end(process)
    # Redacted before it is cut: half a secret would not be recognised.
    last = redact(output.last_line())[:SHOWN]
    return CheckResult(check.name, passed=False, message=f"{ended}: {last}" if last else ended)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group, also what a command that has ended left behind, and reap it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has none
        return f"signal {number}"


class _Tail:
    """Reads all that comes, so that nobody waits to write, and keeps the end."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._kept = b""
        self._reader = threading.Thread(target=self._read, name="lockgate-command", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self._stream as stream:
            while chunk := os.read(stream.fileno(), 65536):
                self._kept = (self._kept + chunk)[-TAIL:]

    def last_line(self) -> str:
        """Return the last line that is not blank; a process that left the group may keep the pipe open."""
        self._reader.join(timeout=1)
        lines = [line.strip() for line in self._kept.decode("utf-8", "replace").splitlines() if line.strip()]
        return "".join(sign for sign in lines[-1] if sign.isprintable()) if lines else ""
