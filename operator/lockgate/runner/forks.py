"""Processes that env.py forks: each is a copy of this one, and none of them is a runner.

A child has the runner's stack, its connections and its signal handlers. It goes its own way in env.py or in a revision;
what it must not do is come back to Lockgate: report, close or use a session that is the runner's, take its end for the
end of env.py. And a signal that it gets must not be written into the pipe from which the runner reads its own.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable

__all__ = ["end_child", "is_child", "when_child"]

_child: list[bool] = []


def is_child() -> bool:
    """Return whether this process was forked by the runner."""
    return bool(_child)


def when_child(act: Callable[[], None]) -> None:
    """Have each child call this when it begins; from then on it knows what it is.

    A signal for a child that has not got so far is kept back until it has.
    """
    masks = threading.local()

    def hold() -> None:
        masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))

    def let_go() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def begin() -> None:
        _child.append(True)
        act()
        let_go()

    os.register_at_fork(before=hold, after_in_parent=let_go, after_in_child=begin)


def end_child(error: BaseException | None = None) -> None:
    """End this process if it is a child, as Python ends one that ``error`` left or that is done; else do nothing."""
    if not is_child():
        return
    code = _code(error)
    with contextlib.suppress(Exception, SystemExit):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def _code(error: BaseException | None) -> int:
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        with contextlib.suppress(Exception):
            sys.excepthook(type(error), error, error.__traceback__)
        return 1
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{error.code}\n")
    return 1
