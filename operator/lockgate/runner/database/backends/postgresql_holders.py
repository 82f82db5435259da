"""Who holds the locks of a run on PostgreSQL, and how to end exactly that session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lockgate.runner.database.lock import fence_key, leader_key, of_key
from lockgate.runner.database.lock_holders import QUERY_LIMIT, LockHolder
from lockgate.runner.database.sql_text import THIS_DATABASE
from lockgate.runner.sql.values import without_values

if TYPE_CHECKING:
    from lockgate.runner.database.connection import OwnConnection

__all__ = ["end_session", "find_holders", "others"]

_SESSION = (
    "coalesce(a.application_name, ''), coalesce(CAST(a.usename AS text), ''),"
    " coalesce(CAST(a.backend_start AS text), ''), coalesce(a.state, ''),"
    " CASE WHEN a.state IS NULL THEN '' ELSE coalesce(a.query, '') END"
)
"""SQL: other roles' start, state and query are hidden, without an error, from who is not in pg_read_all_stats."""


def find_holders(
    connection: OwnConnection, *, leader: tuple[str, str], fence: tuple[str, str]
) -> tuple[LockHolder, ...]:
    """Return who holds the two locks, each named by (schema, version table): as configured, and as found."""
    keys = {"leader": leader_key(*leader), "fence": fence_key(*fence)}
    return tuple(
        LockHolder(lock, key, pid, name, role, since, state, without_values(query)[:QUERY_LIMIT])
        for lock, key in keys.items()
        for pid, name, role, since, state, query in connection.rows(
            f"SELECT l.pid, {_SESSION} FROM pg_catalog.pg_locks l"
            f" LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid WHERE {of_key(key)}"
        )
    )


def others(connection: OwnConnection, known: Iterable[LockHolder]) -> tuple[str, ...]:
    """Return a sentence for each other session of Lockgate that holds an advisory lock in this database."""
    pids = {holder.pid for holder in known}
    found = connection.rows(
        "SELECT DISTINCT l.pid, a.application_name FROM pg_catalog.pg_locks l"
        " JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.locktype = 'advisory' AND l.granted AND a.application_name LIKE 'lockgate %'"
        f" AND l.database = {THIS_DATABASE}"
        " ORDER BY 1"
    )
    return tuple(
        f"pid {pid} ({name}) holds a lock for another version table; --version-table names that one."
        for pid, name in found
        if pid not in pids
    )


def end_session(connection: OwnConnection, holder: LockHolder) -> bool:
    """End the session if it is still the one that was shown, and still holds the lock; return whether it was told to.

    One statement looks and ends: a number that meanwhile belongs to another session is not touched. Raises what the
    driver raises where the role may not do that.
    """
    found = connection.rows(
        "SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a"
        " WHERE a.pid = CAST(:pid AS integer) AND CAST(a.backend_start AS text) = CAST(:since AS text)"
        " AND a.application_name = CAST(:name AS text) AND a.pid <> pg_backend_pid()"
        f" AND EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.pid = a.pid AND {of_key(int(holder.key))})",
        pid=holder.pid,
        since=holder.since,
        name=holder.application_name,
    )
    return bool(found and found[0][0])
