"""What Lockgate does to every connection that env.py opens, without touching env.py: events of SQLAlchemy's Engine.

They work for synchronous and asynchronous engines alike, because an asynchronous engine has a synchronous one inside.
Each new connection gets the session settings. Each statement is seen before it runs, which is where a run that has to
end is stopped, and where the lock time-out is lifted for CREATE INDEX CONCURRENTLY and its kin: those wait for old
transactions without anybody waiting behind them, and a time-out would leave an invalid index.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import event
from sqlalchemy.engine import Engine

from lockgate.runner.connection import is_own_thread
from lockgate.runner.interruption import Interruption
from lockgate.runner.keepalive import keep_alive
from lockgate.runner.ledger import Ledger, is_in_transaction
from lockgate.runner.session_settings import Settings, settings_statement

__all__ = ["EnvironmentSessions", "Preparation", "Statement", "built_index", "is_patient"]

_PATIENT = re.compile(
    r"\s*(?:CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY|DROP\s+INDEX\s+CONCURRENTLY|REINDEX\b.*\bCONCURRENTLY"
    r"|ALTER\s+TABLE\b.*\bDETACH\s+PARTITION\b.*\bCONCURRENTLY)",
    re.IGNORECASE | re.DOTALL,
)
_BUILT = re.compile(
    r"\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?(\"(?:[^\"]|\"\")+\"|\w+)",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)


def is_patient(statement: str) -> bool:
    """Return whether this is a statement that may wait for old transactions: nobody has to wait behind it."""
    return bool(_PATIENT.match(_COMMENT.sub(" ", statement)))


def built_index(statement: str) -> str:
    """Return the name of the index that the statement builds CONCURRENTLY, or nothing."""
    found = _BUILT.match(_COMMENT.sub(" ", statement))
    if not found:
        return ""
    name = found.group(1)
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


@dataclass(frozen=True)
class Statement:
    """A statement that runs, or ran last."""

    pid: int
    text: str
    started: float


class Preparation(Protocol):
    """What has to be done around a statement with CONCURRENTLY."""

    def prepare(self, connection: Any, statement: str) -> None:
        """Clear the way for the statement that ``connection`` is about to run."""

    def done(self, connection: Any, statement: str) -> None:
        """Take note that it succeeded."""


class EnvironmentSessions:
    """Listens to all engines while env.py runs; use it as a context manager."""

    def __init__(self, settings: Settings, interruption: Interruption) -> None:
        self.settings = settings
        self._interruption = interruption
        self.pids: set[int] = set()
        """Backends of env.py's open connections, also for the thread that cancels."""
        self.running: Statement | None = None
        self.failed: str = ""
        """Text of the statement that failed last."""
        self.errors: list[BaseException] = []
        """Database errors in this entry into env.py, in order; env.py may have swallowed them."""
        self.ledger = Ledger()
        """What the revision that runs has committed before its end."""
        self.preparation: Preparation | None = None
        self.built: set[str] = set()
        """Names of indexes that were built CONCURRENTLY."""
        self._listeners = (
            ("connect", self._connected),
            ("close", self._closed),
            ("checkin", self._returned),
            ("before_cursor_execute", self._before),
            ("after_cursor_execute", self._after),
            ("commit", self._commits),
            ("rollback", self._rolled_back),
            ("handle_error", self._error),
        )

    def __enter__(self) -> EnvironmentSessions:
        """Start to listen."""
        self.failed, self.errors, self.running = "", [], None
        for name, listener in self._listeners:
            event.listen(Engine, name, listener)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop to listen."""
        for name, listener in self._listeners:
            event.remove(Engine, name, listener)

    def _connected(self, connection: Any, record: Any) -> None:
        if is_own_thread() or not is_postgresql(connection):
            return
        keep_alive(connection)
        raw(connection, settings_statement(self.settings))
        pid = raw(connection, "SELECT pg_backend_pid()")[0][0]
        connection.commit()  # or the settings would be rolled back, and Alembic think that a transaction is open
        record.info["lockgate_pid"] = pid
        self.pids.add(pid)

    def _closed(self, connection: Any, record: Any) -> None:  # noqa: ARG002  # the signature is SQLAlchemy's
        self.pids.discard(record.info.get("lockgate_pid"))

    def _returned(self, connection: Any, record: Any) -> None:
        """Give the fences back where env.py keeps the session in a pool: nobody would ever get them otherwise."""
        keys = record.info.pop("lockgate_fences", None)
        if keys and connection is not None:
            try:
                for key in sorted(keys):
                    raw(connection, f"SELECT pg_advisory_unlock({key})")
                connection.commit()
            except Exception:  # a session that takes no statement keeps no lock once it is closed
                record.invalidate()

    def _before(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:  # noqa: ARG002  # SQLAlchemy's
        if is_own_thread() or connection.dialect.name != "postgresql":
            return
        self._interruption.check()
        self.ledger.starts()
        if built_index(statement):
            self.built.add(built_index(statement))
        if is_patient(statement) and self.preparation is not None:
            self.preparation.prepare(connection, statement)
            self._interruption.check()
        self.running = Statement(connection.info.get("lockgate_pid", 0), statement, time.monotonic())
        if is_patient(statement):
            dbapi = dbapi_of(connection)
            connection.info["lockgate_lock_timeout"] = raw(dbapi, "SELECT current_setting('lock_timeout')")[0][0]
            raw(dbapi, "SET lock_timeout = 0")

    def _after(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:  # noqa: ARG002  # SQLAlchemy's
        if is_own_thread() or connection.dialect.name != "postgresql":
            return
        self.running = None
        dbapi = dbapi_of(connection)
        within = is_in_transaction(dbapi)
        if within is None:
            within = connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT"
        self.ledger.ran(id(dbapi), statement, in_transaction=within)
        _restore(connection)
        if is_patient(statement) and self.preparation is not None:
            self.preparation.done(connection, statement)

    def _commits(self, connection: Any) -> None:
        if is_own_thread() or connection.closed or connection.invalidated:
            return
        dbapi = dbapi_of(connection)
        if not self.ledger.has_open(id(dbapi)):
            return
        try:
            wrote = raw(dbapi, "SELECT txid_current_if_assigned() IS NOT NULL")[0][0]
        except Exception:  # of a transaction that failed nothing is committed
            self.ledger.rolled_back(id(dbapi))
        else:
            self.ledger.commits(id(dbapi), wrote=wrote)

    def _rolled_back(self, connection: Any) -> None:
        if not is_own_thread() and not connection.closed and not connection.invalidated:
            self.ledger.rolled_back(id(dbapi_of(connection)))

    def _error(self, context: Any) -> None:
        if is_own_thread() or (context.engine is not None and context.engine.dialect.name != "postgresql"):
            return
        self.running = None
        if context.statement is None:
            self.ledger.failed(lost=context.is_disconnect)
        self.failed = context.statement or ""
        self.errors.append(context.original_exception)
        if context.connection is not None and not context.is_disconnect:
            _restore(context.connection)


def _restore(connection: Any) -> None:
    """Put back the lock time-out that was lifted for one statement."""
    if connection.closed or connection.invalidated:
        return
    before = connection.info.pop("lockgate_lock_timeout", None)
    if before is not None:
        with contextlib.suppress(Exception):  # in a failed transaction its rollback puts the setting back
            raw(dbapi_of(connection), f"SET lock_timeout = '{before}'")


def dbapi_of(connection: Any) -> Any:
    """Return the DBAPI connection, or its adapter, under a Connection."""
    pooled = connection.connection
    return getattr(pooled, "dbapi_connection", None) or pooled.connection


def is_postgresql(connection: Any) -> bool:
    """Return whether this is a DBAPI connection (or SQLAlchemy's adapter of one) to PostgreSQL."""
    module = type(connection).__module__
    return module.split(".")[0] in ("psycopg", "psycopg2", "pg8000") or "dialects.postgresql" in module


def raw(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement below SQLAlchemy's Connection: no events, no autobegin."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []
    finally:
        cursor.close()
