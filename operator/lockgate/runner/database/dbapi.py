"""DBAPI connections, below SQLAlchemy's Connection."""

from __future__ import annotations

from typing import Any

from lockgate.runner.database.backends.backend import Ask

__all__ = ["asking", "dbapi_of", "raw"]


def dbapi_of(connection: Any) -> Any:
    """Return the DBAPI connection, or its adapter, under a Connection."""
    pooled = connection.connection
    return getattr(pooled, "dbapi_connection", None) or pooled.connection


def raw(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement below SQLAlchemy's Connection: no events, no autobegin."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []
    finally:
        cursor.close()


def asking(connection: Any) -> Ask:
    """Return what runs a statement as `raw` does; without parameters."""
    return lambda sql: raw(connection, sql)
