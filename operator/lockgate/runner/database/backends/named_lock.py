"""The locks of MySQL and MariaDB: ``GET_LOCK``, which belongs to one session and is free when that session has ended.

The names are of the whole server, not of one database, so the database is part of what is hashed into a name. A name
has at most 64 characters. A session can hold several (MySQL 5.7, MariaDB 10.0.2). They are tried and polled like the
advisory locks of PostgreSQL (see `database.lock`): one place says how to wait for a lock, and who holds it.

A person finds the holder with ``SELECT IS_USED_LOCK('<name>')``, and breaks the lock, when really nothing else helps,
with ``lockgate unlock`` or ``KILL <connection id>``.
"""

from __future__ import annotations

import hashlib

from lockgate.runner.database.backends.backend import Ask
from lockgate.runner.database.lock import Holder

__all__ = ["NAME_LIMIT", "NamedLock", "lock_name"]

NAME_LIMIT = 64
"""Characters of a name that the server takes."""


def lock_name(kind: str, database: str, schema: str, table: str) -> str:
    """Return the name of the ``leader`` or ``fence`` lock for a version table of a database."""
    digest = hashlib.sha256("\0".join((kind, database, schema, table)).encode()).hexdigest()
    return f"lockgate {kind} {digest[:32]}"


class NamedLock:
    """A named lock on whatever session ``ask`` runs its statements."""

    def __init__(self, ask: Ask, name: str) -> None:
        self._ask = ask
        self.name = name

    def try_acquire(self) -> bool:
        """Take the lock if it is free; a session that has it already keeps holding it once."""
        if self.is_held():
            return True
        return bool(self._ask(f"SELECT GET_LOCK('{self.name}', 0)")[0][0])

    def is_held(self) -> bool:
        """Return whether the session that asks has it."""
        return bool(self._ask(f"SELECT coalesce(IS_USED_LOCK('{self.name}') = CONNECTION_ID(), 0)")[0][0])

    def release(self) -> None:
        """Give the lock back; the session's end would do it as well."""
        self._ask(f"SELECT RELEASE_LOCK('{self.name}')")

    def holder(self) -> Holder | None:
        """Say who has it: the number of the session, and where it comes from where this user may see that."""
        session = self._ask(f"SELECT IS_USED_LOCK('{self.name}')")[0][0]
        if session is None:
            return None
        found = self._ask(
            f"SELECT concat(USER, '@', HOST) FROM information_schema.PROCESSLIST WHERE ID = {int(session)}"
        )
        return Holder(int(session), str(found[0][0]) if found else "")
