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
from sqlalchemy.pool import NullPool

from lockgate.runner.backends import backend_of
from lockgate.runner.backends.backend import Backend
from lockgate.runner.database_url import own_url
from lockgate.runner.session_settings import Settings, application_name

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
        self.backend = backend_of(url.get_backend_name())
        self._settings = settings

    def connect(self, role: str) -> OwnConnection:
        """Open a connection; ``role`` is what it is for, and becomes the last word of its ``application_name``.

        Raises what the driver raises: `outcome.classify` knows what it means.
        """
        url, settings = self.backend.own(self.url, role), self._settings.named(role)
        arguments = self.backend.connect_arguments(url, CONNECT_SECONDS)
        opened = _Asynchronous(url, arguments) if url.get_dialect().is_async else _Synchronous(url, arguments)
        connection = OwnConnection(opened, self.backend, application_name(settings), stands_in=url != self.url)
        try:
            self.backend.prepare(connection.rows, settings)
        except BaseException:
            connection.close()
            raise
        return connection


class OwnConnection:
    """One autocommit session; every call is one statement and over when it returns."""

    def __init__(self, opened: _Synchronous | _Asynchronous, backend: Backend, name: str, *, stands_in: bool) -> None:
        self._opened = opened
        self.backend = backend
        self.name = name
        """What it is called where the server shows such names."""
        self.stands_in = stands_in
        """It is empty, because there is no database yet (SQLite): for the next look there may be one."""
        self.reported_pid: int | None = opened.run(reported_pid)
        """The backend's process id as said at connect, which behind a pooler is not the backend's."""

    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; ``:name`` in it stands for a parameter."""

        def execute(connection: Connection) -> list[tuple[Any, ...]]:
            result = connection.execute(text(sql), parameters)
            return [tuple(row) for row in result] if result.returns_rows else []

        return self._opened.run(execute)

    def value(self, sql: str, **parameters: Any) -> Any:
        """Return the first column of the first row."""
        return self.rows(sql, **parameters)[0][0]

    def verbatim(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement of the user's exactly as written: no ``:name``, no ``%`` has a meaning."""

        def execute(connection: Connection) -> list[tuple[Any, ...]]:
            result = connection.execution_options(no_parameters=True).exec_driver_sql(sql)
            return [tuple(row) for row in result] if result.returns_rows else []

        return self._opened.run(execute)

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
    def __init__(self, url: URL, arguments: dict[str, Any]) -> None:
        with _own_work():
            self._engine = create_engine(url, poolclass=NullPool, connect_args=arguments, future=True)
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def run(self, function: Callable[[Connection], T]) -> T:
        with _own_work():
            return function(self._connection)

    def close(self) -> None:
        _quietly(lambda: self.run(lambda connection: connection.close()))


class _Asynchronous:
    def __init__(self, url: URL, arguments: dict[str, Any]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="lockgate-database", daemon=True)
        self._thread.start()
        try:
            self._connection = self._wait(self._connect(url, arguments))
        except BaseException:
            self._end()
            raise

    def _serve(self) -> None:
        _here.own = True
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _connect(self, url: URL, arguments: dict[str, Any]) -> Any:
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415  # needs greenlet, which only async images have

        self._engine = create_async_engine(url, poolclass=NullPool, connect_args=arguments)
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


def _quietly(close: Callable[[], object]) -> None:
    """Close what may be broken already; its end is all that is wanted."""
    with contextlib.suppress(Exception):
        close()
