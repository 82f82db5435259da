"""Follows a revision on a database that keeps no record of its statements, and may commit without being asked.

MySQL commits before each DDL statement and after it, also before one that then fails. Its drivers know after each
success whether a transaction is open; after an error another statement has to be sent before they do.
"""

from __future__ import annotations

import contextlib
from typing import Any

from lockgate.runner.database.backends import backend_of
from lockgate.runner.database.dbapi import dbapi_of, raw
from lockgate.runner.ledger.committed import Ledger, is_in_transaction
from lockgate.runner.records.statements import STARTED, Kept

__all__ = ["Follower", "keeps_statements"]


def keeps_statements(connection: Any) -> bool:
    """Return whether the database of a connection can have lockgate.statements."""
    return backend_of(connection.dialect.name).keeps_history


class Follower:
    """Takes note, and sends nothing but a question after some errors."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._running: dict[int, Kept] = {}

    def before(self, connection: Any, statement: str, parameters: Any) -> None:
        """Take note of a statement that is about to run."""
        self._running.pop(id(dbapi_of(connection)), None)
        kept = self._ledger.starts(statement, parameters, connection.dialect.name)
        if kept is not None:
            self._running[id(dbapi_of(connection))] = kept

    def after(self, connection: Any, statement: str) -> None:
        """Take note of a statement that succeeded."""
        dbapi = dbapi_of(connection)
        within = is_in_transaction(dbapi)
        if within is None:
            within = connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT"
            within = within and not backend_of(connection.dialect.name).commits(statement)
        self._ledger.ran(id(dbapi), statement, self._running.pop(id(dbapi), None), in_transaction=within)

    def commits(self, connection: Any) -> None:
        """Take note of a commit; whether there was anything to commit, no server says to everybody."""
        key = id(dbapi_of(connection))
        if self._ledger.has_open(key):
            self._ledger.commits(key, wrote=True)

    def failed(self, connection: Any, statement: str, *, lost: bool) -> None:
        """Find out what a statement has committed although it failed."""
        if connection.closed or not backend_of(connection.dialect.name).commits(statement):
            return
        if lost:
            # Nobody can ask the session any more. Sessions have one connection each, and this is the only one at work.
            for key, kept in tuple(self._running.items()):
                self._ledger.committed_itself(key, kept._replace(state=STARTED))
            self._running.clear()
            return
        dbapi = dbapi_of(connection)
        if self._ledger.has_open(id(dbapi)) and not _is_still_open(dbapi):
            self._ledger.committed_itself(id(dbapi))


def _is_still_open(dbapi: Any) -> bool:
    """Ask whether a transaction is open after an error; where neither driver nor server (MySQL) say so, it is not."""
    with contextlib.suppress(Exception):
        raw(dbapi, "DO 0")
        known = is_in_transaction(dbapi)
        return bool(raw(dbapi, "SELECT @@in_transaction")[0][0]) if known is None else known
    return False
