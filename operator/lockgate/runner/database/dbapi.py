"""DBAPI connections, below SQLAlchemy's Connection."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection

from lockgate.runner.database.backends.backend import Ask
from lockgate.runner.database.prepared import unprepared

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect
    from sqlalchemy.sql.elements import TextClause

__all__ = ["asking", "credentials_of", "dbapi_of", "once", "raw", "send"]

_numbers = itertools.count(1)
_handed_out: Any = vars(Connection)["connection"].fget
"""SQLAlchemy's own property, below what watches a revision that takes the driver's connection: several calls for each
statement."""


def dbapi_of(connection: Any) -> Any:
    """Return the DBAPI connection, or its adapter, under a Connection."""
    pooled = _handed_out(connection) if isinstance(connection, Connection) else connection.connection
    return getattr(pooled, "dbapi_connection", None) or pooled.connection


def credentials_of(connection: Any) -> tuple[str, ...]:
    """Return the URL of a Connection's engine, and the password of its session, which can come from elsewhere."""
    url = connection.engine.url.render_as_string(hide_password=False)
    with contextlib.suppress(Exception):  # a driver that does not tell, or a session that is lost
        adapter = dbapi_of(connection)
        driver = getattr(adapter, "driver_connection", None) or getattr(adapter, "_connection", None) or adapter
        # psycopg and psycopg2 have it in `info`, asyncpg in `_params`, PyMySQL in the connection itself.
        for place in (getattr(driver, "info", None), getattr(driver, "_params", None), driver):
            password = getattr(place, "password", None)
            if password and isinstance(password, (str, bytes)):
                return url, password if isinstance(password, str) else password.decode("utf-8", "replace")
    return (url,)


def raw(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement below SQLAlchemy's Connection: no events, no autobegin."""
    cursor = connection.cursor()
    try:
        with unprepared(connection):
            cursor.execute(once(connection, sql))
        # psycopg makes a description of each column only when asked for it.
        return list(cursor.fetchall()) if sql.startswith("SELECT ") or cursor.description else []
    finally:
        cursor.close()


def asking(connection: Any) -> Ask:
    """Return what runs a statement as `raw` does; without parameters."""
    return lambda sql: raw(connection, sql)


def send(connection: Connection, statement: TextClause, row: Mapping[str, object]) -> None:
    """Run a statement with parameters as `raw` does; it is compiled once for all rows."""
    sql, order = _spelled(statement, connection.dialect)
    dbapi = dbapi_of(connection)
    cursor = dbapi.cursor()
    try:
        with unprepared(dbapi):
            cursor.execute(once(dbapi, sql), row if order is None else tuple(row[name] for name in order))
    finally:
        cursor.close()


def once(connection: Any, sql: str) -> str:
    """Return a statement with a text that never comes twice, where the text decides what the server is asked for.

    SQLAlchemy's adapter for asyncpg keeps each text prepared, and does not notice when a revision says DEALLOCATE ALL.
    """
    return f"{sql} /* {next(_numbers)} */" if hasattr(connection, "_prepared_statement_cache") else sql


@functools.lru_cache(maxsize=8)
def _spelled(statement: TextClause, dialect: Dialect) -> tuple[str, tuple[str, ...] | None]:
    """Return the statement as the driver wants it, and the order of the parameters where it does not name them."""
    compiled: Any = statement.compile(dialect=dialect)
    return str(compiled), tuple(compiled.positiontup) if compiled.positional else None
