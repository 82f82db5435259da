"""Makes sure that there is a session for env.py, before env.py is entered: it may be one that runs only once."""

from __future__ import annotations

from collections.abc import Callable

from lockgate.errors import InvalidConfiguration
from lockgate.runner.database.backends.backend import Room
from lockgate.runner.database.connection import OwnConnection

__all__ = ["NEEDED", "check_room"]

NEEDED = 2
"""Sessions that a run has at the same time: its own, which holds the leader lock, and the first of env.py's."""
PLENTY = 3
"""With so many left, nobody has to try whether there is one."""


def check_room(room: Room, connect: Callable[[], OwnConnection]) -> None:
    """Return when a session for env.py could be opened; InvalidConfiguration where that can never be.

    Raises what ``connect`` raises.
    """
    if room.most is not None and room.most < NEEDED:
        raise InvalidConfiguration(
            f"A run needs {NEEDED} sessions at the same time, its own and env.py's, and {room.limited} may have"
            f" {room.most}.",
            advice="Raise that limit; env.py may open more than one.",
        )
    if room.free is not None and room.free < PLENTY:
        connect().close()
