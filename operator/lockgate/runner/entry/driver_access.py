"""Watches a revision that works with the driver's own connection, below SQLAlchemy: a raw cursor, and its commit().

SQLAlchemy's events tell nothing of that. A commit() on the connection that SQLAlchemy hands out is seen here, and taken
for what it is: a commit in the middle. Deeper down, in the driver's own object or in SQL, nothing is seen: then only
that is known, and no claim can be made about what was rolled back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from sqlalchemy.engine import Connection
from sqlalchemy.pool import base

from lockgate.runner.database.backends import kind_of
from lockgate.runner.database.connection import is_own_thread

__all__ = ["DriverAccess", "Hearer"]

_OURS = ("sqlalchemy", "alembic", "lockgate")
"""Packages that take the driver's connection as part of their work."""


class Hearer(Protocol):
    """What is told of commits and rollbacks below SQLAlchemy."""

    def commits_below(self, dbapi: Any) -> None:
        """Take note of a commit that comes now."""

    def rolled_back_below(self, dbapi: Any) -> None:
        """Take note of a rollback that comes now."""


class DriverAccess:
    """Says of the revision that runs, or ran last, whether it has taken the driver's connection."""

    def __init__(self, hearer: Hearer) -> None:
        """Take who is told."""
        self._hearer = hearer
        self.was_taken = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch while a revision runs: the properties of SQLAlchemy's classes are exchanged for that time."""
        self.was_taken = False
        told = {"commit": self._hearer.commits_below, "rollback": self._hearer.rolled_back_below}
        with ExitStack() as stack:
            handed_out: Any = vars(Connection)["connection"]
            _exchange(stack, Connection, "connection", property(self._noting(handed_out.__get__)))
            for name, tell in told.items():
                _exchange(stack, base._ConnectionFairy, name, _telling(name, tell))
            yield

    def _noting(self, handed_out: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def connection(engines: Any) -> Any:
            if _caller() not in _OURS and not is_own_thread():
                self.was_taken = True
            return handed_out(engines)

        return connection


def _telling(name: str, tell: Callable[[Any], None]) -> Callable[[Any], Any]:
    def ending(fairy: Any) -> Any:
        dbapi = getattr(fairy, "dbapi_connection", None) or fairy.connection
        if _caller() not in _OURS and not is_own_thread() and kind_of(dbapi):
            tell(dbapi)
        return getattr(dbapi, name)()

    return ending


def _caller() -> str:
    """Return the package of the code that asks for what stands in its caller here."""
    return str(sys._getframe(2).f_globals.get("__name__", "")).partition(".")[0]


def _exchange(stack: ExitStack, owner: type, name: str, other: Any) -> None:
    before = vars(owner).get(name)
    setattr(owner, name, other)
    if before is None:  # found by the class's __getattr__
        stack.callback(delattr, owner, name)
    else:
        stack.callback(setattr, owner, name, before)
