"""Sessions of Lockgate's own that speak to the driver itself, in autocommit: psycopg, psycopg2, asyncpg.

What a driver raises comes out as SQLAlchemy's DBAPIError, which everything else knows how to judge.
"""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from lockgate.runner.database.address import Address
from lockgate.runner.database.keepalive import keep_alive
from lockgate.runner.database.libpq import refused_with
from lockgate.runner.database.prepared import forgo_preparing
from lockgate.runner.database.tls import sslmode_of

__all__ = ["CONNECT_SECONDS", "AsyncpgSession", "LibpqSession", "Session", "open_direct"]

CONNECT_SECONDS = 10

_PARAMETER = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")
"""As in SQLAlchemy's text(): ``:name``, and ``\\:`` for a colon."""


class Session(Protocol):
    """One autocommit session, whatever it is made of."""

    reported_pid: int | None
    """The backend's process id as said at connect, which behind a pooler is not the backend's."""
    sslmode: str
    """See `sslmode_of`."""

    def rows(self, sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; ``:name`` in it stands for a parameter."""

    def verbatim(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement exactly as written."""

    def close(self) -> None:
        """End the session; never raises."""


def open_direct(address: Address) -> Session:
    """Connect; ImportError where the driver is there and cannot be imported."""
    module = importlib.import_module(address.driver)
    if address.driver == "asyncpg":
        asynchronous = {"timeout": CONNECT_SECONDS, **address.arguments_of_asyncpg(), "statement_cache_size": 0}
        return AsyncpgSession(module, lambda: module.connect(**asynchronous))
    # Where a role has another encoding, psycopg2 would go on with that whatever is SET afterwards.
    arguments = {"connect_timeout": CONNECT_SECONDS, **address.arguments(), "client_encoding": "UTF8"}
    return LibpqSession(module, lambda: module.connect(**arguments), lambda: refused_with(arguments))


class LibpqSession:
    """A session over psycopg or psycopg2, which differ in nothing that is used here."""

    def __init__(self, module: Any, connect: Callable[[], Any], why: Callable[[], str] = str) -> None:
        """Connect; ``connect`` returns a connection of ``module``, ``why`` the SQLSTATE where that is refused."""
        self._errors = module.Error
        try:
            self._connection = connect()
        except self._errors as error:
            raise _database_error("", error, why()) from error
        self._connection.autocommit = True
        if hasattr(self._connection, "set_client_encoding"):  # psycopg2's, which an engine of env.py's has opened
            self._connection.set_client_encoding("UTF8")
        if hasattr(self._connection, "row_factory"):  # env.py's may make of a row what has no two columns of one name
            self._connection.row_factory = module.rows.tuple_row
        else:
            self._connection.cursor_factory = None
        forgo_preparing(self._connection)
        keep_alive(self._connection)
        self.reported_pid: int | None = self._connection.info.backend_pid
        self.sslmode = sslmode_of(self._connection)

    def rows(self, sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; ``:name`` in it stands for a parameter."""
        if parameters:
            return self._run(_PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%")).replace("\\:", ":"), parameters)
        return self._run(sql.replace("\\:", ":"))

    def verbatim(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement exactly as written."""
        return self._run(sql)

    def _run(self, sql: str, *parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        def execute() -> list[tuple[Any, ...]]:
            with self._connection.cursor() as cursor:
                cursor.execute(sql, *parameters)
                return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

        rows: list[tuple[Any, ...]] = self._translated(sql, execute)
        return rows

    def _translated(self, sql: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except self._errors as error:
            raise _database_error(sql, error) from error

    def close(self) -> None:
        """End the session; never raises."""
        with suppress(Exception):
            self._connection.close()


class AsyncpgSession:
    """A session over asyncpg, on an event loop in a thread of its own: env.py may run a loop in the main thread."""

    def __init__(self, module: Any, connect: Callable[[], Awaitable[Any]]) -> None:
        """Connect; ``connect`` is called and awaited on that loop, and returns a connection of asyncpg's."""
        asyncio = self._asyncio = importlib.import_module("asyncio")
        self._errors = (module.PostgresError, module.InterfaceError)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lockgate-database", daemon=True)
        self._thread.start()
        try:
            self._connection = self._wait("", connect)
        except BaseException:
            self._end()
            raise
        keep_alive(self._connection)
        self.reported_pid: int | None = self._connection.get_server_pid()
        self.sslmode = ""

    def rows(self, sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; ``:name`` in it stands for a parameter."""
        names = list(parameters)
        numbered = _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", sql) if names else sql
        return self._run(numbered.replace("\\:", ":"), *parameters.values())

    def verbatim(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement exactly as written."""
        return self._run(sql)

    def _run(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._wait(sql, lambda: self._connection.fetch(sql, *values))]

    def _wait(self, sql: str, begin: Callable[[], Any]) -> Any:
        async def work() -> Any:
            return await begin()

        try:
            return self._asyncio.run_coroutine_threadsafe(work(), self._loop).result()
        except self._errors as error:
            raise _database_error(sql, error) from error

    def close(self) -> None:
        """End the session; never raises."""
        with suppress(Exception):
            self._wait("", lambda: self._connection.close(timeout=CONNECT_SECONDS))
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)


def _database_error(sql: str, error: Exception, sqlstate: str = "") -> Exception:
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415  # only for an error: see lockgate.runner.database.address

    raised = DBAPIError(sql, None, error)
    raised.pgcode = sqlstate or None  # type: ignore[attr-defined]  # where `outcome.sqlstate_of` looks
    return raised
