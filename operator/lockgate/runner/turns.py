"""Starting by turns, where many runners start at once on one machine.

To start costs a process more than anything it does before it waits or leaves: Python and a driver take a fifth of a
second to import. When thirty start together, all of them are ready at the same late moment, and the one that migrates
is as late. By turns, as many at a time as there are processors, all of them together take as long as before,
but the first is ready at once and migrates while the others start.

A turn is a name that one process can have (an abstract socket of Linux: no file, and gone with the process). Nothing
depends on it: whoever has waited for `PATIENCE` goes on without, and where there are no such sockets, there are no
turns. Each pod has such names to itself, and so has each container that has a network of its own.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable

__all__ = ["PATIENCE", "Turn", "processors", "take_turn"]

PATIENCE = 5.0
"""Seconds after which a process starts whoever else does."""
POLL_SECONDS = (0.02, 0.06)


class Turn:
    """The right to start now; `end` it when the start is over."""

    def __init__(self, held: socket.socket | None) -> None:
        self._held = held

    @property
    def is_held(self) -> bool:
        """Whether somebody else may have to wait for its end."""
        return self._held is not None

    def end(self) -> None:
        """Let the next one start; again it does nothing."""
        if self._held is not None:
            self._held.close()
            self._held = None


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def take_turn(
    places: int,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    uniform: Callable[[float, float], float],
    name: str = "lockgate start",
) -> Turn:
    """Wait until one of the ``places`` is free, for `PATIENCE` at most."""
    if sys.platform != "linux":
        return Turn(None)
    start = clock()
    while True:
        for place in range(places):
            held = socket.socket(socket.AF_UNIX)
            try:
                held.bind(f"\0{name} {place}")
            except OSError as error:
                held.close()
                if error.errno != errno.EADDRINUSE:
                    return Turn(None)
            else:
                return Turn(held)
        if clock() - start >= PATIENCE:
            return Turn(None)
        sleep(uniform(*POLL_SECONDS))
