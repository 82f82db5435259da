"""DBAPI connections, below SQLAlchemy's Connection."""

from __future__ import annotations

from typing import Any

__all__ = ["dbapi_of", "is_postgresql", "raw"]


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
