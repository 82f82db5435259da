"""Threads of Lockgate's own, which begin before an application is imported and may end after it has patched threads.

gevent's monkey patch gives threads other numbers. A thread that began before it does not find itself in Python's list
when it ends, and a traceback would stand at the end of a good run.
"""

from __future__ import annotations

import threading
from contextlib import suppress

__all__ = ["OwnTimer"]


class OwnTimer(threading.Timer):
    """A timer that may end under another number than its thread had."""

    def _delete(self) -> None:
        with suppress(KeyError):
            super()._delete()  # type: ignore[misc]  # there is no public place where a thread leaves the list
