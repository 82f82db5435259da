"""Ending early: SIGTERM, SIGINT, or the run's own time-out.

Python runs signal handlers between bytecodes of the main thread, and psycopg2 does not come back from a long statement
to any bytecode. So there are three ways to stop it, which do no harm together. The handler raises `StopRequested` in
the main thread; a thread that reads the signal wake-up pipe cancels the statements through a connection of its own; and
where env.py catches even that, the next statement and the next revision raise it again. When nothing helps, the process
ends anyway.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from lockgate.errors import Interrupted, LockgateError, RunTimeout
from lockgate.runner.durations import spoken
from lockgate.runner.forks import when_child
from lockgate.runner.threads import OwnTimer

__all__ = ["Interruption", "StopRequested"]

CANCEL_EVERY_SECONDS = 1.0
GIVE_UP_AFTER = 12
"""Rounds of cancelling before the process ends without the main thread: well below the pod's 30 s of grace."""


class StopRequested(BaseException):  # not an Exception, so that env.py's `except Exception` lets it pass
    """Raised in the main thread when the run has to end."""


class Interruption:
    """Whether the run has to end, and why."""

    def __init__(self) -> None:
        self.cause: LockgateError | None = None
        self.awaits_answer: Callable[[], bool] = lambda: False
        """Whether a statement runs of which only the server's answer says what it has committed. It is cancelled, and
        `StopRequested` is raised when the answer is there."""
        self._asked = threading.Event()
        self._ended = threading.Event()
        self._raised = False
        self._timer: threading.Timer | None = None

    def check(self) -> None:
        """Raise `StopRequested` if the run has to end."""
        if self._asked.is_set():
            raise StopRequested(str(self.cause))

    def listen(self, *, cancel: Callable[[bool], None], give_up: Callable[[], None]) -> None:
        """Take over SIGTERM and SIGINT.

        ``cancel`` cancels what runs in the database (True: ends the sessions); ``give_up`` ends the process.
        """
        read, write = os.pipe()
        for descriptor in (read, write):
            os.set_inheritable(descriptor, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        when_child(lambda: self._leave(before))
        for work in (lambda: self._read(read), lambda: self._cancel(cancel, give_up)):
            threading.Thread(target=work, name="lockgate-interruption", daemon=True).start()

    def _leave(self, before: Mapping[signal.Signals, Any]) -> None:
        """Give signals back to a forked child: it would write its own into the pipe from which the runner reads."""
        with contextlib.suppress(ValueError):
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                if signal.getsignal(number) == self._handle:
                    signal.signal(number, handler)

    def limit(self, seconds: float, error: LockgateError | None = None, *, spent: float = 0.0) -> None:
        """End the run after this time, with the ``error`` of a run where no other is given; 0 means never.

        ``spent``: the part of that time which is over.
        """
        if seconds <= 0:
            return
        error = error or RunTimeout(
            f"The run took longer than {spoken(seconds)}; what it had not committed is rolled back.",
            advice="Raise --run-timeout (spec.timeouts.run), or split the revision.",
        )
        self._timer = OwnTimer(max(seconds - spent, 0.0), self._time_out, args=(error,))
        self._timer.daemon = True
        self._timer.start()

    def over(self) -> None:
        """Say that the main thread has nothing left that could be interrupted."""
        self._ended.set()
        if self._timer:
            self._timer.cancel()

    def _time_out(self, error: LockgateError) -> None:
        if not self._ended.is_set():
            self._request(error)
            os.kill(os.getpid(), signal.SIGTERM)

    def _request(self, error: LockgateError) -> None:
        if not self._asked.is_set():
            self.cause = error
            self._asked.set()

    def _signalled(self, number: int) -> None:
        name = signal.Signals(number).name
        self._request(Interrupted(f"The process was asked to end ({name}); what was not committed is rolled back."))

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # the signature is Python's
        self._signalled(number)
        if not self._raised and not self._ended.is_set() and not self.awaits_answer():
            self._raised = True
            # An event loop of env.py's logs what is raised in its tasks while they are cut off: tracebacks of no use.
            logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
            raise StopRequested(str(self.cause))

    def _read(self, descriptor: int) -> None:
        while True:
            for number in os.read(descriptor, 64):
                if number in (signal.SIGTERM, signal.SIGINT):
                    self._signalled(number)

    def _cancel(self, cancel: Callable[[bool], None], give_up: Callable[[], None]) -> None:
        self._asked.wait()
        for turn in range(GIVE_UP_AFTER):
            if self._ended.wait(0.05 if turn == 0 else CANCEL_EVERY_SECONDS):
                return
            cancel(turn >= GIVE_UP_AFTER // 2)
        if not self._ended.wait(CANCEL_EVERY_SECONDS):
            give_up()
