"""What Lockgate does to every connection that env.py opens, without touching env.py: events of SQLAlchemy's Engine.

They work for synchronous and asynchronous engines alike, because an asynchronous engine has a synchronous one inside.
Each new connection gets the session settings. Each statement is seen before it runs, which is where a run that has to
end is stopped, and where the lock time-out is lifted for CREATE INDEX CONCURRENTLY and its kin: those wait for old
transactions without anybody waiting behind them, and a time-out would leave an invalid index.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from lockgate.runner.database.backends import KINDS, backend_of, kind_of
from lockgate.runner.database.connection import is_own_thread
from lockgate.runner.database.dbapi import asking, dbapi_of, raw
from lockgate.runner.database.keepalive import keep_alive
from lockgate.runner.database.libpq import DRIVERS as LIBPQ
from lockgate.runner.database.libpq import refused_with
from lockgate.runner.database.outcome import chain, sqlstate_of
from lockgate.runner.database.session_settings import Settings
from lockgate.runner.database.tls import sslmode_of
from lockgate.runner.entry.driver_access import DriverAccess
from lockgate.runner.entry.env_transactions import SAVEPOINT
from lockgate.runner.entry.input_recorder import InputRecorder
from lockgate.runner.entry.unfinished import Unfinished
from lockgate.runner.forks import is_child
from lockgate.runner.interruption import Interruption
from lockgate.runner.ledger.index_work import built_index
from lockgate.runner.ledger.journal import Journal
from lockgate.runner.sql.lexer import without_comments
from lockgate.runner.sql.values import masked_values

__all__ = ["EnvironmentSessions", "Preparation", "Statement", "is_patient"]

_PATIENT = re.compile(
    r"\s*(?:CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY|DROP\s+INDEX\s+CONCURRENTLY|REINDEX\b.*\bCONCURRENTLY"
    r"|ALTER\s+TABLE\b.*\bDETACH\s+PARTITION\b.*\bCONCURRENTLY)",
    re.IGNORECASE | re.DOTALL,
)
_LIFTS = re.compile(
    r"\b(?:SET|RESET)\s+(?:LOCAL\s+|SESSION\s+)?\W*(?:lock_timeout|(?:innodb_)?lock_wait_timeout|ALL)\b"
    r"|\bset_config\(\s*'lock_timeout'|\bDISCARD\s+ALL\b",
    re.IGNORECASE,
)
"""Statements after which another time-out for locks may count than was set: the stricter one has to."""


def is_patient(statement: str) -> bool:
    """Return whether this is a statement that may wait for old transactions: nobody has to wait behind it."""
    # The word is looked for first: most statements do not have it, and every one of env.py's comes by here.
    return "concurrently" in statement.lower() and bool(_PATIENT.match(without_comments(statement)))


def _may_lift(statement: str) -> bool:
    """Return whether another time-out for locks may count now; a long statement is not searched without a reason."""
    lower = statement.lower()
    return ("timeout" in lower or "reset" in lower or "discard" in lower) and bool(_LIFTS.search(statement))


class Statement(NamedTuple):
    """A statement that runs, or ran last."""

    pid: int
    text: str
    started: float
    dialect: str = "postgresql"
    """SQLAlchemy's name of what reads it."""


class SelfBlock(NamedTuple):
    """A session of a run that waits for another one of the same thread, which so can never go on."""

    waiter: int
    holder: int
    waiting_for: str
    """The lock and its holder, in words."""


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
        """Sessions of env.py's open connections, also for the thread that cancels."""
        self.abandoned: set[int] = set()
        """Sessions of which the client went away in the middle of a statement; MySQL goes on with it."""
        self._awaited = False
        interruption.awaits_answer = lambda: self._awaited
        self._files: dict[int, Any] = {}
        """Open connections to SQLite, which only this process can interrupt."""
        self.running: Statement | None = None
        self.failed: str = ""
        """Text of the statement that failed last, without its literals."""
        self.errors: list[BaseException] = []
        """Database errors in this entry into env.py, in order; env.py may have swallowed them."""
        self.journal = Journal(secrets.token_hex(8))
        """What the revision that runs has committed before its end."""
        self.driver = DriverAccess(self.journal)
        self.unfinished = Unfinished()
        self._uncommitted: dict[int, Callable[[], None]] = {}
        """By connection with whole revisions in a transaction that env.py commits: what has to look before that."""
        self._threads: dict[int, int] = {}
        """By session, the thread that used it last."""
        self.self_block: SelfBlock | None = None
        """Seen in this entry into env.py."""
        self.opened_within: set[str] = set()
        """Revisions that opened a session of their own."""
        self._heard: dict[int, list[str]] = {}
        """What env.py executes over a connection between ``configure()`` and ``run_migrations()``."""
        self.fenced: list[dict[str, Any]] = []
        """The ``info`` of connections that got a fence, as long as that stands in it."""
        self.inputs = InputRecorder()
        """Records what env.py goes by, and does besides its revisions."""
        self.preparation: Preparation | None = None
        self.built: set[str] = set()
        """Names of indexes that were built CONCURRENTLY."""
        self.sslmodes: set[str] = set()
        """As `sslmode_of` says them of env.py's connections."""
        self._arguments: dict[str, Any] = {}
        """Of the last connection that env.py began to open, where libpq opens it. A secret."""
        self._listeners = (
            ("do_connect", self._connects),
            ("connect", self._connected),
            ("close", self._closed),
            ("checkin", self._returned),
            ("after_cursor_execute", self._after),
            ("commit", self._commits),
            ("rollback", self._rolled_back),
            ("savepoint", self._savepoint),
            ("rollback_savepoint", self._rolled_back_to),
            ("handle_error", self._error),
        )

    def __enter__(self) -> EnvironmentSessions:
        """Start listening."""
        self.failed, self.errors, self.running, self.self_block = "", [], None, None
        for name, listener in self._listeners:
            event.listen(Engine, name, listener)
        event.listen(Engine, "before_cursor_execute", self._before, retval=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        for name, listener in self._listeners:
            event.remove(Engine, name, listener)
        event.remove(Engine, "before_cursor_execute", self._before)

    def _connects(self, dialect: Any, record: Any, positional: Any, named: dict[str, Any]) -> None:  # noqa: ARG002
        # The very dictionary that env.py's own listeners to this event complete.
        if not is_own_thread():
            self._arguments = named if dialect.driver in LIBPQ and not positional else {}

    def name_refusal(self, error: BaseException) -> None:
        """Enter the SQLSTATE of a login that was refused into SQLAlchemy's error: libpq gives its drivers none."""
        found = [item for item in chain(error) if isinstance(item, DBAPIError)]
        if found and self._arguments and not sqlstate_of(error):
            found[0].pgcode = refused_with(self._arguments)  # type: ignore[attr-defined]  # where `sqlstate_of` looks

    def _connected(self, connection: Any, record: Any) -> None:
        kind = "" if is_own_thread() else kind_of(connection)
        if not kind:
            return
        keep_alive(connection)
        self.sslmodes.add(sslmode_of(connection))
        backend, ask = backend_of(kind), asking(connection)
        backend.prepare(ask, self.settings)
        session = backend.session_of(ask)
        connection.commit()  # or the settings would be rolled back, and Alembic think that a transaction is open
        record.info["lockgate_session"] = session
        if self.journal.is_following:
            self.opened_within.add(self.journal.revision)
        if session:
            self.pids.add(session)
        else:
            self._files[id(connection)] = connection

    def _closed(self, connection: Any, record: Any) -> None:
        if is_child():
            return
        self._files.pop(id(connection), None)
        self.pids.discard(record.info.get("lockgate_session"))

    @property
    def are_several(self) -> bool:
        """Whether env.py has more than one session now."""
        return len(self.pids) > 1

    def blocked(self, statement: Statement, holders: tuple[int, ...], waiting_for: str) -> None:
        """Take note of the sessions that hold what a statement waits for; called by another thread."""
        mine = self._threads.get(statement.pid)
        for holder in holders:
            if mine is not None and self._threads.get(holder) == mine and holder in self.pids:
                self.self_block = SelfBlock(statement.pid, holder, waiting_for)

    def hear(self, connection: Any, heard: list[str]) -> None:
        """Enter every statement of this connection from now on into a list."""
        if not (connection.closed or connection.invalidated):
            self._heard[id(dbapi_of(connection))] = heard

    def stop_hearing(self, connection: Any) -> None:
        """Leave that list as it is."""
        self._heard.pop(id(dbapi_of(connection)), None)

    def uncommitted(self, connection: Any, look: Callable[[], None]) -> None:
        """Call ``look`` before the next commit of this connection; what it raises keeps that from being done."""
        self._uncommitted[id(dbapi_of(connection))] = look

    def interrupt(self) -> None:
        """Interrupt what runs in SQLite, from any thread; on a server that takes a connection of its own."""
        for connection in tuple(self._files.values()):
            driver = getattr(connection, "driver_connection", None) or connection
            with contextlib.suppress(Exception):  # it may have been closed meanwhile
                getattr(driver, "_conn", driver).interrupt()  # aiosqlite's own interrupt() has to be awaited

    def _returned(self, connection: Any, record: Any) -> None:
        """Give the fences back where env.py keeps the session in a pool: nobody would ever get them otherwise."""
        if is_child():  # they are the runner's
            return
        self.unfinished.end(connection)  # a pool rolls back what comes back to it
        self._uncommitted.pop(id(connection), None)
        self._heard.pop(id(connection), None)
        keys = record.info.pop("lockgate_fences", None)
        if keys and connection is not None:
            try:
                for key in sorted(keys):
                    backend_of(kind_of(connection)).release(asking(connection), key)
                connection.commit()
            except Exception:  # a session that takes no statement keeps no lock once it is closed
                record.invalidate()

    def _before(self, connection: Any, cursor: Any, statement: str, *rest: Any) -> tuple[str, Any]:
        parameters, context, executemany = rest
        if _is_strange() or connection.dialect.name not in KINDS:
            return statement, parameters
        self._interruption.check()
        self.inputs.statement(statement)
        if self._heard:
            self._heard.get(id(dbapi_of(connection)), []).append(statement)
        patient = is_patient(statement)
        built = built_index(statement) if patient else ""
        if built:
            self.built.add(built)
        instead = self.journal.before(connection, statement, parameters)
        if instead is not None:
            return instead, _no_parameters(cursor, parameters, context if executemany else None)
        if patient and self.preparation is not None:
            self.preparation.prepare(connection, statement)
            self._interruption.check()
        session, kind = connection.info.get("lockgate_session", 0), connection.dialect.name
        self.running = Statement(session, statement, time.monotonic(), kind)
        self._threads[session] = threading.get_ident()
        self._awaited = backend_of(connection.dialect.name).outlives_clients
        if patient:
            dbapi = dbapi_of(connection)
            connection.info["lockgate_lock_timeout"] = raw(dbapi, "SELECT current_setting('lock_timeout')")[0][0]
            raw(dbapi, "SET lock_timeout = 0")
        return statement, parameters

    def _after(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if _is_strange() or connection.dialect.name not in KINDS:
            return
        self.running, awaited, self._awaited = None, self._awaited, False
        if self.preparation is not None and is_patient(statement):
            self.preparation.done(connection, statement)  # before it is settled: the next try leaves it out then
        self.journal.after(connection, cursor, statement)
        _restore(connection)
        if _may_lift(statement):
            settings = self.settings.named(self.journal.revision)
            backend_of(connection.dialect.name).prepare(asking(dbapi_of(connection)), settings)
        if awaited:
            self._interruption.check()

    def _commits(self, connection: Any) -> None:
        if _is_followed(connection):
            self.unfinished.check(dbapi_of(connection))
            look = self._uncommitted.get(id(dbapi_of(connection)))
            if look is not None:
                look()
                del self._uncommitted[id(dbapi_of(connection))]
            self.journal.commits(connection)

    def _rolled_back(self, connection: Any) -> None:
        if _is_followed(connection):
            self.unfinished.end(dbapi_of(connection))
            self._uncommitted.pop(id(dbapi_of(connection)), None)
            self.journal.rolled_back(connection)

    def _savepoint(self, connection: Any, name: str) -> None:
        if _is_followed(connection):
            self._heard.get(id(dbapi_of(connection)), []).append(SAVEPOINT)
            self.journal.savepoint(connection, name)

    def _rolled_back_to(self, connection: Any, name: str, context: Any) -> None:  # noqa: ARG002  # SQLAlchemy's
        if _is_followed(connection):
            self.unfinished.end(dbapi_of(connection))  # what fails outside every savepoint has not begun one
            self.journal.rolled_back_to(connection, name)

    def _error(self, context: Any) -> None:
        if _is_strange() or (context.engine is not None and context.engine.dialect.name not in KINDS):
            return
        statement, self.running, self._awaited = self.running, None, False
        left = context.is_disconnect or not isinstance(context.original_exception, Exception)
        known = context.engine if context.engine is not None else context.connection
        if left and statement is not None and known is not None and backend_of(known.dialect.name).outlives_clients:
            self.abandoned.add(statement.pid)
        self.journal.failed(context.connection, context.statement, lost=context.is_disconnect)
        self.failed = masked_values(context.statement or "", known.dialect.name if known is not None else "postgresql")
        self.errors.append(context.original_exception)
        if context.connection is None and context.sqlalchemy_exception is not None:
            self.name_refusal(context.sqlalchemy_exception)
        if context.connection is not None and not context.is_disconnect:
            _restore(context.connection)


def _no_parameters(cursor: Any, parameters: Any, many: Any) -> Any:
    """Return parameters for a statement that takes none, of the same kind; ``many``: the context of an executemany."""
    if getattr(cursor, "_inputsizes", None):  # SQLAlchemy 1.4 tells asyncpg the types of what is no longer there
        cursor._inputsizes = None
    # SQLAlchemy 2 makes one INSERT of many rows, and calls that an executemany all the same.
    if many is None or getattr(getattr(many, "execute_style", None), "name", "") == "INSERTMANYVALUES":
        return type(parameters)()
    return [type(parameters[0])()]


def _is_strange() -> bool:
    """Return whether what is heard of is none of env.py's in this process: Lockgate's own, or a forked child's."""
    return is_own_thread() or is_child()


def _is_followed(connection: Any) -> bool:
    return not (_is_strange() or connection.closed or connection.invalidated)


def _restore(connection: Any) -> None:
    """Put back the lock time-out that was lifted for one statement."""
    if connection.closed or connection.invalidated:
        return
    before = connection.info.pop("lockgate_lock_timeout", None)
    if before is not None:
        with contextlib.suppress(Exception):  # in a failed transaction its rollback puts the setting back
            raw(dbapi_of(connection), f"SET lock_timeout = '{before}'")
