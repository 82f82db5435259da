"""Runs `lockgate` in real processes that cost little: everything is imported once, then each is a fork.

Started as a program. Reads a line of JSON per process to start, writes a line when it has started and when it ended.
Beside it, `ForkServer` is what the tests talk to.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["ForkServer", "Runner"]


@dataclass
class Runner:
    """A process of `lockgate`."""

    pid: int
    output: Path
    pod: str
    code: int | None = None
    """How it ended: its exit code, or minus the signal's number."""
    signals: list[signal.Signals] = field(default_factory=list)
    """What it was sent."""

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; False where the process had ended before."""
        if self.code is not None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            self.signals.append(number)
            return True
        return False


class ForkServer:
    """Starts runners, and knows how they ended."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-B", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._runners: dict[int, Runner] = {}
        self._started: list[int] = []
        self._told = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> ForkServer:
        """Return the server."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and with it whatever it started."""
        self._process.kill()
        self._process.wait()

    def start(self, folder: Path, output: Path, pod: str, environ: dict[str, str], *argv: str) -> Runner:
        """Start `lockgate` with these arguments."""
        assert self._process.stdin is not None
        order = {"folder": str(folder), "output": str(output), "environ": environ, "argv": argv}
        with self._told:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            assert self._told.wait_for(lambda: self._started, timeout=30), "the fork server is gone"
            pid = self._started.pop()
            runner = self._runners[pid] = Runner(pid, output, pod)
            self._told.notify()
            return runner

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            with self._told:
                if "code" in told:
                    self._runners.pop(told["pid"]).code = told["code"]
                else:
                    self._started.append(told["pid"])
                    self._told.notify()
                    self._told.wait_for(lambda: not self._started, timeout=30)


def _serve() -> None:
    _preload()
    lines = os.fdopen(0, "rb", buffering=0)
    waiting: list[dict[str, Any]] = []
    while True:
        ready, _, _ = select.select([lines], [], [], 0.02)
        if ready:
            line = lines.readline()
            if not line:
                return
            waiting.append(json.loads(line))
        for order in waiting:
            pid = os.fork()
            if pid == 0:
                _become_lockgate(**order)
            _tell(pid=pid)
        waiting.clear()
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                _tell(pid=pid, code=os.waitstatus_to_exitcode(status))


def _preload() -> None:
    """Import what a run imports, whichever driver it uses."""
    import asyncpg  # noqa: F401, PLC0415  # in the server's process, not in the tests'
    import psycopg  # noqa: F401, PLC0415
    import psycopg2  # noqa: F401, PLC0415
    import sqlalchemy.dialects.postgresql.asyncpg  # noqa: PLC0415
    import sqlalchemy.dialects.postgresql.psycopg  # noqa: PLC0415
    import sqlalchemy.dialects.postgresql.psycopg2  # noqa: PLC0415
    import sqlalchemy.ext.asyncio  # noqa: F401, PLC0415

    from lockgate.runner import command_line, commands  # noqa: F401, PLC0415


def _tell(**what: int) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _become_lockgate(folder: str, output: str, environ: dict[str, str], argv: list[str]) -> None:
    """Go on as the process that the order describes; never returns."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: end with the fork server
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (descriptor, 1), (descriptor, 2)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(folder)
        from lockgate.runner.command_line import main  # noqa: PLC0415  # preloaded

        main(argv)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
