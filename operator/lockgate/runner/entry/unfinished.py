"""Connections over which a revision has run that must not be committed yet, or never.

From the end of a revision's function to the last look before the commit nothing may be committed: not what is left of a
revision that failed, nor of one that has lost its fence. Alembic rolls that back by itself; an env.py that began the
transaction, and goes on after the error, would commit it, and the version table would not know.
"""

from __future__ import annotations

from typing import Any

from lockgate.errors import MigrationFailed
from lockgate.runner.database.dbapi import dbapi_of

__all__ = ["Unfinished", "taken_back"]


def taken_back(revision: str) -> MigrationFailed:
    """Return the error where a revision ends with nothing left of what it did, by its own rollback()."""
    return MigrationFailed(
        f"Revision {revision} ends with a rollback() of the connection that it was given: nothing that it did is left.",
        advice="Leave that out, or let the error through that it answers to.",
    )


class Unfinished:
    """Hears of revisions, and of every commit and rollback."""

    def __init__(self) -> None:
        self._connections: set[int] = set()

    def begin(self, connection: Any) -> None:
        """Allow no commit from now on; a session that is lost commits nothing."""
        if connection is not None and not (connection.closed or connection.invalidated):
            self._connections.add(id(dbapi_of(connection)))

    def end(self, dbapi: Any) -> None:
        """Allow it again: the revision is whole, or all of it is rolled back."""
        self._connections.discard(id(dbapi))

    def check(self, dbapi: Any) -> None:
        """Raise where a commit would leave a part of a revision."""
        if id(dbapi) in self._connections:
            raise MigrationFailed("env.py went on to commit after a revision had failed; that commit is refused.")
