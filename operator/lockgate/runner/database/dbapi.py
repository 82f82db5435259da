"""DBAPI connections, below SQLAlchemy's Connection."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lockgate.runner.database.backends.backend import Ask

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Dialect
    from sqlalchemy.sql.elements import TextClause

__all__ = ["asking", "dbapi_of", "raw", "send"]


def dbapi_of(connection: Any) -> Any:
    """Return the DBAPI connection, or its adapter, under a Connection."""
    pooled = connection.connection
    return getattr(pooled, "dbapi_connection", None) or pooled.connection


def raw(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement below SQLAlchemy's Connection: no events, no autobegin."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
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
    cursor = dbapi_of(connection).cursor()
    try:
        cursor.execute(sql, row if order is None else tuple(row[name] for name in order))
    finally:
        cursor.close()


@functools.lru_cache(maxsize=8)
def _spelled(statement: TextClause, dialect: Dialect) -> tuple[str, tuple[str, ...] | None]:
    """Return the statement as the driver wants it, and the order of the parameters where it does not name them."""
    compiled: Any = statement.compile(dialect=dialect)
    return str(compiled), tuple(compiled.positiontup) if compiled.positional else None
