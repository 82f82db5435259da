"""Cancels what this process runs in the database, from a connection of its own and from any thread."""

from __future__ import annotations

from collections.abc import Iterable

from lockgate.runner.connection import Database

__all__ = ["cancel_sessions"]


def cancel_sessions(database: Database | None, pids: Iterable[int], *, end: bool) -> None:
    """Cancel the running statements of these backends, or end the sessions; never raises.

    Only sessions whose application_name says that they are Lockgate's: the number of a session that has ended may
    belong to somebody else by now.
    """
    numbers = ", ".join(str(int(pid)) for pid in sorted(pids))
    if database is None or not numbers:
        return
    function = "pg_terminate_backend" if end else "pg_cancel_backend"
    try:
        connection = database.connect("cancel")
        try:
            connection.rows(
                f"SELECT {function}(pid) FROM pg_catalog.pg_stat_activity"
                f" WHERE pid IN ({numbers}) AND application_name LIKE 'lockgate%'"
            )
        finally:
            connection.close()
    except Exception:  # noqa: S110  # the next round tries again, and the end of the process cancels as well
        pass
