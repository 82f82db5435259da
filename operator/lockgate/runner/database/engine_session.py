"""Sessions of Lockgate's own that need SQLAlchemy's engines: several hosts in a URL, pg8000, options of a dialect."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection
from sqlalchemy.engine.url import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from lockgate.runner.database import connection as own
from lockgate.runner.database.keepalive import keep_alive
from lockgate.runner.database.libpq import DRIVERS as LIBPQ
from lockgate.runner.database.libpq import refused_with
from lockgate.runner.database.prepared import forgo_preparing
from lockgate.runner.database.tls import sslmode_of

__all__ = ["open_created", "open_engine", "reported_pid"]

T = TypeVar("T")


def open_engine(url: URL, arguments: dict[str, Any]) -> EngineSession:
    """Connect; ``arguments`` are for the driver's connect()."""
    dialect = url.get_dialect()
    try:
        return _open(url, {"connect_args": arguments}, asynchronous=dialect.is_async)
    except DBAPIError as error:
        if dialect.driver in LIBPQ:
            _, named = dialect().create_connect_args(url)
            error.pgcode = refused_with({**named, **arguments})  # type: ignore[attr-defined]  # as in `direct`
        raise


def open_created(url: URL, creator: Callable[[], Any], *, asynchronous: bool) -> EngineSession:
    """Connect by ``creator``, which returns a connection of the driver's, or SQLAlchemy's adapter of one."""
    return _open(url, {"creator": creator}, asynchronous=asynchronous)


def _open(url: URL, options: dict[str, Any], *, asynchronous: bool) -> EngineSession:
    return EngineSession(_Asynchronous(url, options) if asynchronous else _Synchronous(url, options))


class EngineSession:
    """A `Session` on a connection of SQLAlchemy's."""

    def __init__(self, opened: _Synchronous | _Asynchronous) -> None:
        self._opened = opened
        opened.run(lambda connection: _set_driver(connection.connection))
        self.reported_pid: int | None = opened.run(reported_pid)
        self.sslmode = opened.run(lambda connection: sslmode_of(connection.connection))

    def rows(self, sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; ``:name`` in it stands for a parameter."""

        def execute(connection: Connection) -> list[tuple[Any, ...]]:
            result = connection.execute(text(sql), parameters)
            return [tuple(row) for row in result] if result.returns_rows else []

        return self._opened.run(execute)

    def verbatim(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement exactly as written."""

        def execute(connection: Connection) -> list[tuple[Any, ...]]:
            result = connection.execution_options(no_parameters=True).exec_driver_sql(sql)
            return [tuple(row) for row in result] if result.returns_rows else []

        return self._opened.run(execute)

    def close(self) -> None:
        """End the session; never raises."""
        self._opened.close()


def _set_driver(connection: Any) -> None:
    """Set what the driver does by itself, on the connection that SQLAlchemy has from its pool."""
    keep_alive(connection)
    driver = getattr(connection, "driver_connection", None) or getattr(connection, "dbapi_connection", connection)
    forgo_preparing(driver)
    if hasattr(driver, "set_client_encoding"):  # psycopg2 does not notice what is SET
        driver.set_client_encoding("UTF8")


def reported_pid(connection: Connection) -> int | None:
    """Return the backend process id that the driver was told when it connected, or None where it does not say."""
    adapted: Any = connection.connection
    raw: Any = getattr(adapted, "driver_connection", None) or getattr(adapted, "dbapi_connection", None)
    if hasattr(raw, "get_server_pid"):
        return int(raw.get_server_pid())  # asyncpg
    info = getattr(raw, "info", None)
    pid = getattr(info, "backend_pid", None)
    return int(pid) if pid else None


class _Synchronous:
    def __init__(self, url: URL, options: dict[str, Any]) -> None:
        with own.own_work():
            self._engine = create_engine(url, poolclass=NullPool, future=True, **options)
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def run(self, function: Callable[[Connection], T]) -> T:
        with own.own_work():
            return function(self._connection)

    def close(self) -> None:
        _quietly(lambda: self.run(lambda connection: connection.close()))


class _Asynchronous:
    def __init__(self, url: URL, options: dict[str, Any]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="lockgate-database", daemon=True)
        self._thread.start()
        try:
            self._connection = self._wait(self._connect(url, options))
        except BaseException:
            self._end()
            raise

    def _serve(self) -> None:
        with own.own_work():
            asyncio.set_event_loop(self._loop)
            self._loop.run_forever()

    async def _connect(self, url: URL, options: dict[str, Any]) -> Any:
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415  # needs greenlet, which only async images have

        self._engine = create_async_engine(url, poolclass=NullPool, **options)
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
