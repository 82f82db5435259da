"""Makes CREATE INDEX CONCURRENTLY and REINDEX CONCURRENTLY of a revision repeatable, whatever ended the try before.

Such a statement that fails, or whose pod is killed, leaves an invalid index. The next try would meet its name, or with
``IF NOT EXISTS`` succeed and change nothing. So right before the statement, with the leader lock held and over a
connection of Lockgate's own, the invalid rest is dropped:

* of ``CREATE INDEX CONCURRENTLY name ON table``: an invalid index of exactly that name on exactly that table. It is
  the very index that the statement builds, whoever left it.
* of ``REINDEX ... CONCURRENTLY`` (``*_ccnew``, ``*_ccold``) and of an index without a name: what became invalid since
  this statement was first tried. ``lockgate.index_work`` remembers what was invalid before, also after SIGKILL.

A valid index is never dropped, and none that somebody builds: a builder is listed in pg_stat_progress_create_index and
holds a lock on the table, both visible to every role.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

from lockgate.errors import DatabaseBusy
from lockgate.runner.database.backends.postgresql_server import FINGERPRINT
from lockgate.runner.database.connection import Database, OwnConnection
from lockgate.runner.database.dbapi import dbapi_of, raw
from lockgate.runner.database.sql_text import THIS_DATABASE
from lockgate.runner.entry.sessions import EnvironmentSessions, Statement
from lockgate.runner.ledger.committed import is_in_transaction
from lockgate.runner.ledger.index_work import index_work
from lockgate.runner.output.progress import Narrator
from lockgate.runner.records import invalid_before

__all__ = ["IndexBuilds"]

_FROM_INVALID = (
    " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE NOT i.indisvalid AND c.relkind = 'i'"
)
_NAMED = "quote_ident(n.nspname) || '.' || quote_ident(c.relname)"
_OURS = f"l.locktype = 'relation' AND l.relation = i.indrelid AND l.granted AND l.database = {THIS_DATABASE}"
_BUILDER = (
    "(SELECT min(p.pid) FROM pg_catalog.pg_stat_progress_create_index p JOIN pg_catalog.pg_locks l ON l.pid = p.pid"
    f" WHERE {_OURS} AND l.mode = 'ShareUpdateExclusiveLock')"
)


class IndexBuilds:
    """Clears the way for the statements of env.py's sessions; the leader lock is held while it is at work."""

    def __init__(self, database: Database, fingerprint: str, sessions: EnvironmentSessions, narrator: Narrator) -> None:
        self._database = database
        self._fingerprint = fingerprint
        self._sessions = sessions
        self._narrator = narrator
        self._before: dict[str, list[int]] = {}
        self.dropped: list[str] = []
        """Names of the indexes that were dropped, for the report."""

    def prepare(self, connection: Any, statement: str) -> None:
        """Drop what an earlier try of this statement left invalid; ``connection`` is env.py's, about to run it.

        DatabaseBusy where somebody else builds that index right now.
        """
        work = index_work(statement)
        dbapi = dbapi_of(connection)
        if work is None or is_in_transaction(dbapi):  # inside a transaction the statement cannot succeed anyway
            return
        # Over env.py's session, because its search_path says which table is meant.
        found = raw(dbapi, f"SELECT CAST(i.indexrelid AS bigint), {_NAMED}, {_BUILDER}{_FROM_INVALID} AND {work.scope}")
        if work.exact and not found:
            return
        own = self._connect(connection, dbapi)
        try:
            # Also where nothing is invalid yet: the try after one that is killed has to know that.
            before = [] if work.exact else self._recall(own, statement, found)
            rests = [row for row in found if row[0] not in before]
            for oid, name, builder in rests:
                if builder is not None:
                    raise DatabaseBusy(f"Another session (pid {builder}) builds the index {name} right now.")
                self._drop(own, oid)
        finally:
            own.close()

    def done(self, connection: Any, statement: str) -> None:
        """Forget about a statement that succeeded."""
        if self._before.pop(_digest(statement), None) is not None:
            own = self._connect(connection, dbapi_of(connection))
            try:
                invalid_before.forget(own, _digest(statement))
            finally:
                own.close()

    def _connect(self, connection: Any, dbapi: Any) -> OwnConnection:
        """Connect to the database of env.py's session, which may be another than the one that was named to us."""
        database = self._database
        if raw(dbapi, f"SELECT {FINGERPRINT}")[0][0] != self._fingerprint:
            database = Database.of_engine(connection.engine, self._sessions.settings)
        return database.connect("indexes")

    def _recall(self, own: OwnConnection, statement: str, found: list[tuple[Any, ...]]) -> list[int]:
        """Return the indexes that were invalid before this statement was first tried; record them if this is it."""
        key = _digest(statement)
        if key not in self._before:  # without the right to record it, it is remembered as long as this process lives
            self._before[key] = invalid_before.recall(own, key, [row[0] for row in found])
        return self._before[key]

    def _drop(self, own: OwnConnection, oid: int) -> None:
        """Drop an index over a connection of ours, having looked again; SIGTERM cancels it like env.py's statements."""
        pids = ", ".join(str(int(pid)) for pid in self._sessions.pids) or "0"
        again = own.rows(
            f"SELECT {_NAMED}, EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE {_OURS} AND l.pid IN ({pids})),"
            f" pg_backend_pid(){_FROM_INVALID} AND i.indexrelid = {int(oid)} AND {_BUILDER} IS NULL"
        )
        if not again or again[0][1]:
            return  # repaired meanwhile; or a session of this very run holds the table, and we would wait for ourselves
        name, _, pid = again[0]
        statement = f"DROP INDEX CONCURRENTLY IF EXISTS {name}"
        self._sessions.pids.add(pid)
        self._sessions.running = Statement(pid, statement, time.monotonic())
        self._narrator.tell("clearing", f"dropping {name}: an earlier try left it invalid", statement=statement)
        try:
            own.rows("SET lock_timeout = 0")  # it waits for old transactions without anybody waiting behind it
            own.verbatim(statement)
        finally:
            self._sessions.pids.discard(pid)
            self._sessions.running = None
        self.dropped.append(name)


def _digest(statement: str) -> str:
    return hashlib.sha256(" ".join(statement.split()).encode()).hexdigest()
