"""Keeps drivers from preparing statements that may meet other tables the next time.

A statement that the server keeps prepared fails as soon as its result would have other types than before, as after a
revision that widens the version table, or where a revision says DEALLOCATE ALL. What Lockgate asks now and then gains
nothing from it. psycopg prepares by itself what is sent for the sixth time; asyncpg everything, unless it is told
otherwise when it connects (`direct`, `connect_arguments`); psycopg2 nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["forgo_preparing", "unprepared"]


def forgo_preparing(connection: Any) -> None:
    """Let psycopg prepare nothing on a DBAPI connection of Lockgate's own, or under SQLAlchemy's adapter of one."""
    driver = _driver(connection)
    if hasattr(driver, "prepare_threshold"):
        driver.prepare_threshold = None


@contextmanager
def unprepared(connection: Any) -> Iterator[None]:
    """Let psycopg prepare nothing for a moment on a connection of env.py's, which may gain by it."""
    driver = _driver(connection)
    before = getattr(driver, "prepare_threshold", None)
    if before is None:
        yield
        return
    driver.prepare_threshold = None
    try:
        yield
    finally:
        driver.prepare_threshold = before


def _driver(connection: Any) -> Any:
    return getattr(connection, "driver_connection", None) or connection
