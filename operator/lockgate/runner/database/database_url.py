"""From the URL that the application uses to one that Lockgate's own connections can use. Pure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lockgate.errors import DriverNotInstalled, InvalidConfiguration, UnsupportedDatabase
from lockgate.runner.database.address import has_stray_at, query_of_asyncpg, read_address
from lockgate.runner.database.backends import KINDS

if TYPE_CHECKING:
    from sqlalchemy.engine.url import URL

__all__ = ["PLACEHOLDERS", "destination", "own_url"]

PLACEHOLDERS = ("", '""', "''", "driver://user:pass@localhost/dbname")
"""What ``sqlalchemy.url`` holds where nobody set it: nothing, MLflow's quoted nothing, Alembic's own template."""

_MODULES = {
    "mysqldb": "MySQLdb",
    "mysqlconnector": "mysql",
    "mariadbconnector": "mariadb",
    "pysqlite": "sqlite3",
    **{name: name for name in ("psycopg", "psycopg2", "asyncpg", "pg8000", "pymysql", "asyncmy", "aiomysql")},
}
"""Which module to look for, where it is not called as the driver is."""
_ORDER = {
    "postgresql": ("psycopg", "psycopg2", "asyncpg", "pg8000"),
    "mysql": ("pymysql", "mysqldb", "mysqlconnector", "mariadbconnector", "asyncmy", "aiomysql"),
    "sqlite": ("pysqlite",),
}
"""Drivers for a URL that names none, the first that is installed."""
_ADVICE = {
    "postgresql": "Install psycopg, psycopg2 or asyncpg there (in the image).",
    "mysql": "Install pymysql or mysqlclient there (in the image).",
    "sqlite": "Use a Python that was built with sqlite3.",
}
# Drivers that Lockgate replaces for itself by their synchronous twin.
_TWINS = {"psycopg_async": "psycopg", "psycopg2cffi": "psycopg2", "aiopg": "psycopg2", "aiosqlite": "pysqlite"}


def own_url(text: str, *, default_driver: str, installed: Callable[[str], bool]) -> URL:
    """Parse ``text`` and settle the driver.

    A URL without a driver gets SQLAlchemy's default (``default_driver``: psycopg2 before SQLAlchemy 2.1, psycopg since)
    or, where that is not installed, the first that is. Messages never quote the URL.
    """
    from sqlalchemy.engine.url import make_url  # noqa: PLC0415  # it takes long, and is hardly ever needed here
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        raise InvalidConfiguration(
            "The database URL cannot be read.",
            advice="Write it like postgresql+psycopg://host:5432/name, with user:password@ before the host;"
            " an @ in them is written %40.",
        ) from None
    backend, _, driver = url.drivername.partition("+")
    kind = KINDS.get(backend)
    if kind is None:
        raise UnsupportedDatabase(
            f"The database URL names {backend!r}.", advice="Lockgate migrates PostgreSQL, MySQL, MariaDB and SQLite."
        )
    if kind != "sqlite" and has_stray_at(text):
        raise InvalidConfiguration(
            "The database URL has more than one @ before the host.",
            advice="An @ in the user name or the password is written %40.",
        )
    order = (default_driver, *_ORDER[kind]) if kind == "postgresql" else _ORDER[kind]
    # mysqlclient is what SQLAlchemy takes where no driver is named, so its name says little about the image.
    chosen = _driver(kind, "" if driver == "mysqldb" and not installed("MySQLdb") else driver, order, installed)
    url = url.set(drivername=f"{kind}+{chosen}")
    return _for_asyncpg(url) if chosen == "asyncpg" else url


def destination(text: str) -> tuple[str, ...]:
    """Return what in a URL decides which version table is found behind it: user, database, and options (search_path).

    Without any secret; empty where the URL cannot be read, which `own_url` has to say.
    """
    address = read_address(text)
    if address is not None:
        return address.username, address.database, address.query.get("options", "")
    from sqlalchemy.engine.url import make_url  # noqa: PLC0415  # it takes long, and is hardly ever needed here
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        return ()
    return url.username or "", url.database or "", str(url.query.get("options", ""))


def _driver(kind: str, named: str, order: Sequence[str], installed: Callable[[str], bool]) -> str:
    if named:
        driver = _TWINS.get(named, named)
        if installed(_MODULES.get(driver, driver)):
            return driver
        raise DriverNotInstalled(
            f"The database URL names the driver {named!r}, which is not installed for {sys.executable}.",
            advice="Install it there (in the image), or name one that is there in the URL.",
        )
    for driver in order:
        if installed(_MODULES[driver]):
            return driver
    spoken = {"postgresql": "PostgreSQL", "mysql": "MySQL", "sqlite": "SQLite"}[kind]
    raise DriverNotInstalled(f"No {spoken} driver is installed for {sys.executable}.", advice=_ADVICE[kind])


def _for_asyncpg(url: URL) -> URL:
    return url.set(query=query_of_asyncpg(url.query))
