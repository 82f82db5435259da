"""Lockgate's own connections: always autocommit, so that none ever sits in a transaction.

A connection that waits or watches inside a transaction makes CREATE INDEX CONCURRENTLY of the migration wait for it,
for ever. Drivers without a synchronous form (asyncpg) run on an event loop in a thread of Lockgate's own: the main
thread belongs to env.py, which may run a loop itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection
from sqlalchemy.engine.url import URL, make_url
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.pool import NullPool

from lockgate.errors import DatabaseUnreachable
from lockgate.runner import outcome
from lockgate.runner.database_url import own_url
from lockgate.runner.keepalive import keep_alive
from lockgate.runner.session_settings import Settings, settings_statement

__all__ = ["Database", "OwnConnection", "is_own_thread", "parse_url"]

T = TypeVar("T")

CONNECT_SECONDS = 10

_here = threading.local()


def is_own_thread() -> bool:
    """Return True while this thread opens or uses one of Lockgate's own connections: those are none of env.py's."""
    return getattr(_here, "own", False)


def parse_url(value: str) -> URL:
    """Return the URL for own connections; errors as in `own_url`."""
    default = make_url("postgresql://").get_dialect().driver
    return own_url(value, default_driver=default, installed=lambda name: importlib.util.find_spec(name) is not None)


class Database:
    """Opens own connections to one database."""

    def __init__(self, url: URL, settings: Settings) -> None:
        """Remember the URL and what each session is given; opens nothing."""
        self.url = url
        self._settings = settings

    def connect(self, role: str) -> OwnConnection:
        """Open a connection; ``role`` is what it is for, and becomes the last word of its ``application_name``.

        Raises what the driver raises: `outcome.classify` knows what it means.
        """
        asynchronous = self.url.get_dialect().is_async
        opened = _Asynchronous(self.url) if asynchronous else _Synchronous(self.url)
        connection = OwnConnection(opened)
        try:
            opened.run(lambda session: keep_alive(session.connection))
            connection.rows(settings_statement(self._settings.named(role)))
        except BaseException:
            connection.close()
            raise
        return connection


class OwnConnection:
    """One autocommit session; every call is one statement and over when it returns."""

    def __init__(self, opened: _Synchronous | _Asynchronous) -> None:
        self._opened = opened
        self.reported_pid: int | None = opened.run(reported_pid)
        """The backend's process id as said at connect, which behind a pooler is not the backend's."""

    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; ``:name`` in it stands for a parameter."""

        def execute(connection: Connection) -> list[tuple[Any, ...]]:
            result = connection.execute(text(sql), parameters)
            return [tuple(row) for row in result] if result.returns_rows else []

        return self._ask(execute)

    def value(self, sql: str, **parameters: Any) -> Any:
        """Return the first column of the first row."""
        return self.rows(sql, **parameters)[0][0]

    def verbatim(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement of the user's exactly as written: no ``:name``, no ``%`` has a meaning."""

        def execute(connection: Connection) -> list[tuple[Any, ...]]:
            result = connection.execution_options(no_parameters=True).exec_driver_sql(sql)
            return [tuple(row) for row in result] if result.returns_rows else []

        return self._ask(execute)

    def _ask(self, execute: Callable[[Connection], T]) -> T:
        """Raise DatabaseUnreachable where the session is lost, once and for all; else what SQLAlchemy raises."""
        try:
            return self._opened.run(execute)
        except PendingRollbackError as error:  # what SQLAlchemy says of the statements after the one that noticed it
            raise DatabaseUnreachable("The connection to the database was lost.") from error
        except DBAPIError as error:
            known = outcome.classify(error)
            if isinstance(known, DatabaseUnreachable):
                raise known from error
            raise

    def close(self) -> None:
        """End the session, and with it every session lock that it holds; never raises."""
        self._opened.close()


def reported_pid(connection: Connection) -> int | None:
    """Return the backend process id that the driver was told when it connected, or None where it does not say."""
    adapted: Any = connection.connection
    raw: Any = getattr(adapted, "driver_connection", None) or getattr(adapted, "dbapi_connection", None)
    if hasattr(raw, "get_server_pid"):
        return int(raw.get_server_pid())  # asyncpg
    info = getattr(raw, "info", None)
    pid = getattr(info, "backend_pid", None)
    return int(pid) if pid else None


@contextlib.contextmanager
def _own_work() -> Iterator[None]:
    outer, _here.own = is_own_thread(), True
    try:
        yield
    finally:
        _here.own = outer


class _Synchronous:
    def __init__(self, url: URL) -> None:
        with _own_work():
            self._engine = create_engine(url, poolclass=NullPool, connect_args=_connect_arguments(url), future=True)
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def run(self, function: Callable[[Connection], T]) -> T:
        with _own_work():
            return function(self._connection)

    def close(self) -> None:
        _quietly(lambda: self.run(lambda connection: connection.close()))


class _Asynchronous:
    def __init__(self, url: URL) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="lockgate-database", daemon=True)
        self._thread.start()
        try:
            self._connection = self._wait(self._connect(url))
        except BaseException:
            self._end()
            raise

    def _serve(self) -> None:
        _here.own = True
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _connect(self, url: URL) -> Any:
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415  # needs greenlet, which only async images have

        self._engine = create_async_engine(url, poolclass=NullPool, connect_args=_connect_arguments(url))
        connection = await self._engine.connect()
        return await connection.execution_options(isolation_level="AUTOCOMMIT")

    def _wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def run(self, function: Callable[[Connection], T]) -> T:
        result: T = self._wait(self._connection.run_sync(function))
        return result

    def close(self) -> None:
        _quietly(lambda: self._wait(self._connection.close()))
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)


def _connect_arguments(url: URL) -> dict[str, Any]:
    """Bound the time to connect; the drivers call it differently."""
    driver = url.drivername.partition("+")[2]
    if driver in ("asyncpg", "pg8000"):
        return {"timeout": CONNECT_SECONDS}
    return {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}


def _quietly(close: Callable[[], object]) -> None:
    """Close what may be broken already; its end is all that is wanted."""
    with contextlib.suppress(Exception):
        close()
