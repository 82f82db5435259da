"""The locks that a revision file asks for: all of them at once, before it begins, and only when they are free.

``lockgate_locks = ("orders", "billing.invoices")`` at the top of a revision file, and if ``ACCESS EXCLUSIVE`` is more
than it needs, ``lockgate_lock_mode = "SHARE ROW EXCLUSIVE"``. First the run waits, outside any transaction, until no
transaction that has lasted for a while holds anything in the way; readers do not queue behind that. Then, inside the
revision's transaction, one LOCK TABLE takes all of them under the lock time-out: two tables that the application locks
in the opposite order cannot lead to a deadlock, because this gives everything back before PostgreSQL looks for one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lockgate.errors import InvalidRevisions
from lockgate.runner.database.backends.backend import Ask
from lockgate.runner.database.sql_text import THIS_DATABASE, literal, quoted

__all__ = ["LONGEST_WAIT", "DeclaredLocks", "declared", "take", "wait_for_old"]

OLD_SECONDS = 0.2
"""A transaction that holds its lock for longer is waited for; shorter ones are what the lock time-out is for."""

LONGEST_WAIT = 15.0
"""Seconds to wait for old transactions before trying all the same: a failed try costs a lock time-out."""

LOCK_TIMEOUT_MS = 500
"""How long to wait for each of the locks, where the session's own time-out is not shorter."""

_READS = "AccessShareLock"
_ROWS = (
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
_CONFLICTS = {
    "ACCESS EXCLUSIVE": (_READS, "RowShareLock", "ShareLock", *_ROWS),
    "EXCLUSIVE": ("RowShareLock", "ShareLock", *_ROWS),
    "SHARE ROW EXCLUSIVE": ("ShareLock", *_ROWS),
    "SHARE": _ROWS,
    "SHARE UPDATE EXCLUSIVE": ("ShareLock", *_ROWS[1:]),
}
"""For each mode that can be declared, the modes of pg_locks that are in its way (PostgreSQL's manual, 13.3.1)."""


class DeclaredLocks(NamedTuple):
    """What a revision file declares."""

    file: str
    tables: tuple[str, ...]
    mode: str = "ACCESS EXCLUSIVE"


def declared(module: Any, path: str) -> DeclaredLocks | None:
    """Read a revision's module; None where it declares nothing, InvalidRevisions where that cannot be meant."""
    tables = getattr(module, "lockgate_locks", None)
    if tables is None:
        return None
    mode = getattr(module, "lockgate_lock_mode", "ACCESS EXCLUSIVE")
    file = Path(path).name
    if not isinstance(tables, (tuple, list)) or not all(isinstance(name, str) and name for name in tables):
        raise InvalidRevisions(
            f"{file}: lockgate_locks is {tables!r}.",
            advice='Write a tuple of names of tables, as in ("orders", "billing.invoices").',
        )
    if mode not in _CONFLICTS:
        raise InvalidRevisions(
            f"{file}: lockgate_lock_mode is {mode!r}.", advice=f"Write one of {', '.join(_CONFLICTS)}."
        )
    return DeclaredLocks(file, tuple(tables), mode) if tables else None


def wait_for_old(
    locks: DeclaredLocks,
    ask: Ask,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    waiting: Callable[[str], None],
) -> None:
    """Wait until no transaction that was there a moment ago holds a lock in the way, at most `LONGEST_WAIT` seconds.

    ``ask`` must leave no transaction open. How old other roles' transactions are is hidden; that the same one is there
    again is not. ``waiting`` is told who, in a line.
    """
    before: set[str] = set()
    end = clock() + LONGEST_WAIT
    while True:
        found = {str(transaction): (pid, name, table) for transaction, pid, name, table in ask(_in_the_way(locks))}
        old = before & set(found)
        if not found or (before and not old) or clock() >= end:
            return
        for pid, name, table in [found[transaction] for transaction in sorted(old)][:1]:
            waiting(f"lock on {table} held by pid {pid}" + (f" ({name})" if name else ""))
        before = set(found)
        sleep(OLD_SECONDS)


def take(locks: DeclaredLocks, ask: Ask) -> None:
    """Take all locks in the transaction that is open; InvalidRevisions where a table is missing."""
    for name, missing in ask(f"SELECT name, to_regclass(name) IS NULL FROM {_names(locks)}"):
        if missing:
            raise InvalidRevisions(
                f"{locks.file}: lockgate_locks names {name}, which is no table when the revision begins.",
                advice="Correct the name; a table that the revision itself creates needs no lock.",
            )
    # PostgreSQL takes them one after the other. Below its deadlock time-out of a second nobody is told of a deadlock.
    before = ask("SELECT current_setting('lock_timeout')")[0][0]
    ask(
        f"SELECT set_config('lock_timeout', '{LOCK_TIMEOUT_MS}', true) FROM pg_catalog.pg_settings s"
        f" WHERE s.name = 'lock_timeout' AND CAST(s.setting AS bigint) NOT BETWEEN 1 AND {LOCK_TIMEOUT_MS}"
    )
    ask(f"LOCK TABLE {', '.join(map(_quoted, locks.tables))} IN {locks.mode} MODE".replace(":", "\\:"))
    ask(f"SELECT set_config('lock_timeout', '{before}', true)")


def _in_the_way(locks: DeclaredLocks) -> str:
    modes = ", ".join(f"'{mode}'" for mode in _CONFLICTS[locks.mode])
    return (
        "SELECT l.virtualtransaction, l.pid, coalesce(a.application_name, ''),"
        " CAST(CAST(l.relation AS regclass) AS text)"
        " FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()"
        f" AND l.database = {THIS_DATABASE}"
        f" AND l.mode IN ({modes}) AND l.relation IN (SELECT to_regclass(name) FROM {_names(locks)})"
    )


def _names(locks: DeclaredLocks) -> str:
    literals = ", ".join(f"({literal(_quoted(table))})" for table in locks.tables)
    return f"(VALUES {literals}) AS declared (name)".replace(":", "\\:")


def _quoted(name: str) -> str:
    """Quote ``table`` or ``schema.table``, each as in the catalog."""
    return ".".join(quoted(part) for part in name.split(".", 1))
