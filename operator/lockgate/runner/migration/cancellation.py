"""Cancels what this process runs in the database, from a connection of its own and from any thread."""

from __future__ import annotations

import gc
from contextlib import suppress

from lockgate.runner.database.connection import Database, OwnConnection
from lockgate.runner.entry.sessions import EnvironmentSessions

__all__ = ["cancel_sessions", "end_abandoned", "end_left_behind"]


def cancel_sessions(
    database: Database | None,
    sessions: EnvironmentSessions,
    *,
    end: bool,
    otherwise: OwnConnection | None = None,
) -> None:
    """Cancel the running statements of env.py's sessions, or end the sessions; never raises.

    ``otherwise``: a session over which to do that where no other is to be had.
    """
    sessions.interrupt()
    _cancel(database, frozenset(sessions.pids), end=end, otherwise=otherwise)


def end_abandoned(database: Database | None, sessions: EnvironmentSessions) -> None:
    """End the sessions that would go on with a statement although nobody waits for it; never raises."""
    _cancel(database, frozenset(sessions.abandoned), end=True)


def end_left_behind(database: Database | None, sessions: EnvironmentSessions, session: int) -> None:
    """End a session that holds a fence if an earlier entry into env.py has not closed it; never raises.

    Nobody works over it any more, and what it has not committed is rolled back.
    """
    if not _is_left(sessions, session):
        return
    gc.collect()  # most are only held by the traceback of what ended that entry, and close themselves
    if _is_left(sessions, session):
        _cancel(database, frozenset((session,)), end=True)


def _is_left(sessions: EnvironmentSessions, session: int) -> bool:
    return any("lockgate_fences" in info and info.get("lockgate_session") == session for info in sessions.fenced)


def _cancel(
    database: Database | None, sessions: frozenset[int], *, end: bool, otherwise: OwnConnection | None = None
) -> None:
    if database is None or not sessions:
        return
    with suppress(Exception):  # the next round tries again, and the end of the process cancels as well
        try:
            connection = database.connect("cancel")
        except Exception:
            if otherwise is None:
                raise
            otherwise.backend.cancel(otherwise, sessions, end=end)
            return
        try:
            connection.backend.cancel(connection, sessions, end=end)
        finally:
            connection.close()
