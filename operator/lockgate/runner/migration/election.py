"""Elects the leader of the runs of one database: connect, try the lock, look who has it, close, pause, and again.

A run that waits holds no session between two looks: the leader may need every one that its role, its database or a
session pool has left. Where none is left for a look, or the server is away for a moment, that is waited for like the
lock itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lockgate.errors import DatabaseUnreachable, LockgateError
from lockgate.runner.database import outcome
from lockgate.runner.database.connection import OwnConnection
from lockgate.runner.database.lock import Lock, lock_busy

__all__ = ["Candidate", "OneSession", "Waiting", "elect", "pause"]

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 0.9
"""Seconds between two looks, each of which costs a connect. A run that waits long looks less often."""
JITTER = (0.5, 1.5)
"""Runs that were started together do not look together."""


class OneSession:
    """At most one session of Lockgate's own, opened when it is needed."""

    def __init__(self, connect: Callable[[], OwnConnection]) -> None:
        """Take how to connect; opens nothing."""
        self._connect = connect
        self.connection: OwnConnection | None = None

    def open(self) -> OwnConnection:
        """Return the session, connecting where there is none."""
        self.connection = self.connection or self._connect()
        return self.connection

    def close(self) -> None:
        """End the session, where there is one; never raises."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Waiting(NamedTuple):
    """What a run waits for."""

    said: str
    holder: int
    """Number of the session that has the lock; 0 where that is not known."""
    seconds: float
    """For how long it has waited."""


class Candidate(NamedTuple):
    """What a run asks about when it looks."""

    lock: Callable[[OwnConnection], Lock]
    is_enough: Callable[[OwnConnection], bool]
    """Whether what the lock is wanted for is done."""
    prove: Callable[[OwnConnection], bool] | None = None
    """Behind a pooler: finds out that the session is the run's alone, before a lock is taken. False: not now."""


class _Obstacle(NamedTuple):
    """Why a look did not end the election."""

    said: str
    holder: int
    error: Callable[[float], LockgateError]
    """What it is called after so many seconds."""


def pause(waited: float, uniform: Callable[[float, float], float]) -> float:
    """Return the seconds until the next look, after so many of waiting."""
    return min(FIRST_PAUSE + waited / 4, LONGEST_PAUSE) * uniform(*JITTER)


def elect(
    candidate: Candidate,
    session: OneSession,
    *,
    wait: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    uniform: Callable[[float, float], float],
    waiting: Callable[[Waiting], None],
) -> float | None:
    """Look until the lock is held by ``session``, which stays open; return the seconds that took.

    None as soon as what the lock was wanted for is done. LockBusy, or what kept us from looking, after ``wait``
    seconds.
    """
    start = clock()
    while True:
        found = _look(candidate, session)
        waited = clock() - start
        if not isinstance(found, _Obstacle):
            return waited if found else None
        session.close()
        if waited >= wait:
            raise found.error(waited)
        waiting(Waiting(found.said, found.holder, waited))
        sleep(min(pause(waited, uniform), max(wait - waited, 0.01)))


def _look(candidate: Candidate, session: OneSession) -> bool | _Obstacle:
    """Return True with the lock, False where it is not needed any more."""
    connecting = session.connection is None
    try:
        connection = session.open()
        connecting = False
        lock = candidate.lock(connection)
        proven = candidate.prove is None or (lock.holder() is None and candidate.prove(connection))
        if proven and lock.try_acquire():
            return True
        if candidate.is_enough(connection):
            return False
        holder = lock.holder()
    except Exception as caught:
        error = outcome.classify(caught, connecting=connecting)
        if not isinstance(error, DatabaseUnreachable):
            raise error from caught
        return _Obstacle(error.message, 0, lambda _: error)
    said = str(holder or "lock held by a session that just ended")
    return _Obstacle(said, holder.pid if holder else 0, lambda waited: lock_busy(holder, waited))
