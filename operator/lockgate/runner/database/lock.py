"""The two advisory locks of a run, and how to wait for one.

A *session* advisory lock belongs to one session of PostgreSQL. It is free as soon as that session has ended, whatever
ended it, and the server ends a transaction before it frees the session's locks: whoever gets the lock next finds
the work of the one before either committed or gone. A person finds the holder with::

    SELECT a.pid, a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND a.application_name LIKE 'lockgate%'

and breaks the lock, when really nothing else helps, with ``lockgate unlock`` or ``SELECT pg_terminate_backend(<pid>)``.

*Leader*: on a connection of Lockgate's own. Decides who plans, migrates, verifies and reports. Nothing depends on it
for safety. It is taken before env.py has run, when nobody knows yet which version table env.py will name, so its key
is made from the table that the configuration names (``version_table``, ``version_table_schema``) or Alembic's default:
all pods of one project agree on that. Projects that share a database and do not configure it there wait for each other
for the length of a migration, which is a delay and not a danger.

*Fence*: on the very connection that env.py hands to ``context.configure()``, with a key made from the version table
really configured. Lock and work end together with the session: only this gives mutual exclusion.

Both are tried and polled, never awaited: a session that blocks in ``pg_advisory_lock()``, or polls inside a
transaction, stops CREATE INDEX CONCURRENTLY of the one who works. Advisory locks are per database; other tools' keys
are other numbers, so that env.py's own lock is never in the way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from lockgate.errors import LockBusy
from lockgate.runner.database.sql_text import THIS_DATABASE
from lockgate.runner.durations import spoken
from lockgate.runner.sql.values import without_values

__all__ = ["AdvisoryLock", "Holder", "Lock", "acquire", "fence_key", "holds", "leader_key", "lock_busy", "of_key"]

Query = Callable[[str], "list[tuple[Any, ...]]"]

STATEMENT_LIMIT = 120
"""Characters that are shown of what the holder runs."""
POLL_SECONDS = (0.1, 0.5)
"""Between two tries, at random within these: processes that were started together do not try together."""
HOLDER_SECONDS = 1.0
"""How often who waits asks who has the lock: of all that a poll asks, this costs the server most."""


class Lock(Protocol):
    """What elects one of several processes."""

    def try_acquire(self) -> bool:
        """Take the lock if it is free; never wait."""

    def release(self) -> None:
        """Give the lock back."""

    def holder(self) -> Holder | None:
        """Say who has it, as far as can be seen."""


class Holder(NamedTuple):
    """The session that has the lock."""

    pid: int
    name: str
    """Its application_name."""
    since: str = ""
    """When its session began, where the role may see that."""
    runs: str = ""
    """What its migration runs at this moment, where the role may see that: without values."""

    def __str__(self) -> str:
        """Say it in a line."""
        parts = [part for part in (self.name, self.since and f"since {self.since}") if part]
        held = f"lock held by pid {self.pid}" + (f" ({', '.join(parts)})" if parts else "")
        return f"{held}, which runs {self.runs}" if self.runs else held


def leader_key(schema: str, table: str) -> int:
    """Return the key of the leader lock for a version table as configured."""
    return _key("lockgate leader", schema, table)


def fence_key(schema: str, table: str) -> int:
    """Return the key of the fence for a version table as resolved on env.py's connection."""
    return _key("lockgate fence", schema, table)


def _key(*parts: str) -> int:
    """64 bits of a hash, signed as PostgreSQL's bigint."""
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8], "big", signed=True)


def of_key(key: int) -> str:
    """Return SQL for the rows ``l`` of pg_locks that hold this key in this database."""
    return f"{_of_key_anywhere(key)} AND l.database = {THIS_DATABASE}"


def _of_key_anywhere(key: int) -> str:
    """Return the same for any database; a bigint key is shown as its two halves, with objsubid 1."""
    unsigned = key & (2**64 - 1)
    return (
        "l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        f" AND CAST(l.classid AS bigint) = {unsigned >> 32} AND CAST(l.objid AS bigint) = {unsigned & 0xFFFFFFFF}"
    )


def holds(key: int) -> str:
    """Return SQL that says whether the session that asks holds this key; it can hold none of another database."""
    # The function below the view pg_locks: this is planned anew before each commit of a revision.
    mine = "SELECT count(*) > 0 FROM pg_catalog.pg_lock_status() l WHERE l.pid = pg_backend_pid()"
    return f"{mine} AND {_of_key_anywhere(key)}"


_AT_WORK = (
    "SELECT w.query FROM pg_catalog.pg_stat_activity w WHERE w.state = 'active' AND w.pid <> l.pid"
    " AND w.datname = current_database() AND right(a.application_name, 7) = ' leader'"
    " AND left(w.application_name, length(a.application_name) - 6) = left(a.application_name, -6)"
    " AND EXISTS (SELECT FROM pg_catalog.pg_locks f WHERE f.pid = w.pid AND f.locktype = 'advisory' AND f.granted)"
    " ORDER BY w.query_start LIMIT 1"
)
"""SQL: what the session with the fence runs for the leader ``a``: the same name, with a revision at its end."""


class AdvisoryLock:
    """A session advisory lock, on whatever session ``query`` runs its statements."""

    def __init__(self, query: Query, key: int) -> None:
        self._query = query
        self.key = key

    def try_acquire(self) -> bool:
        """Take the lock if it is free."""
        return bool(self._query(f"SELECT pg_try_advisory_lock({self.key})")[0][0])

    def release(self) -> None:
        """Give the lock back; the session's end would do it as well."""
        self._query(f"SELECT pg_advisory_unlock({self.key})")

    def holder(self) -> Holder | None:
        """Say who has it: pid and application_name are visible to every role."""
        found = self._query(
            f"SELECT l.pid, coalesce(a.application_name, ''), to_char(a.backend_start, 'HH24:MI:SS'), ({_AT_WORK})"
            " FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
            f" WHERE {of_key(self.key)}"
        )
        if not found:
            return None
        pid, name, since, statement = found[0]
        return Holder(pid, name, since or "", without_values(statement or "")[:STATEMENT_LIMIT])


def lock_busy(holder: Holder | None, waited: float) -> LockBusy:
    """Return the error where the lock was waited for in vain."""
    return LockBusy(
        f"Another process migrates this database: {holder or 'lock held'}, waited {spoken(waited)}.",
        advice="Let it finish and try again, or wait longer (--lock-wait, spec.lock.wait). If its process is"
        " gone, `lockgate unlock` ends its session.",
    )


def acquire(
    lock: Lock,
    *,
    wait: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    uniform: Callable[[float, float], float],
    waiting: Callable[[Holder | None, float], None],
) -> float:
    """Try and poll with jitter until the lock is ours, over the session that needs it; return the seconds that took.

    ``waiting`` is told the holder after the first try that failed, and then every second. LockBusy after ``wait``
    seconds.
    """
    start, asked = clock(), -HOLDER_SECONDS
    while not lock.try_acquire():
        waited = clock() - start
        if waited >= wait:
            raise lock_busy(lock.holder(), waited)
        if waited - asked >= HOLDER_SECONDS:
            asked = waited
            waiting(lock.holder(), waited)
        sleep(min(uniform(*POLL_SECONDS), max(wait - waited, 0.01)))
    return clock() - start
