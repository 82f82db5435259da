"""The databases that a run can migrate, each behind the same protocol: see `backend.Backend`.

PostgreSQL gives everything. MySQL, MariaDB and SQLite give the lock, the fence, the time-outs and the account of what
is committed; what they cannot give, each says in ``limits``.
"""

from __future__ import annotations

import functools
from typing import Any

from lockgate.errors import UnsupportedDatabase
from lockgate.runner.database.backends.backend import Backend

__all__ = ["KINDS", "backend_of", "kind_of"]

KINDS = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
}
"""SQLAlchemy's names of databases, and which backend each belongs to."""

_MODULES = {
    **dict.fromkeys(("psycopg", "psycopg2", "pg8000"), "postgresql"),
    **dict.fromkeys(("pymysql", "MySQLdb", "aiomysql", "asyncmy", "mysql", "mariadb", "cymysql"), "mysql"),
    **dict.fromkeys(("sqlite3", "_sqlite3", "aiosqlite"), "sqlite"),
}


@functools.cache
def backend_of(name: str) -> Backend:
    """Return the backend for a name of SQLAlchemy's; UnsupportedDatabase where there is none.

    Imported when needed: a run has one kind of database, and their modules import those that ask for them here.
    """
    kind = KINDS.get(name)
    if kind == "postgresql":
        from lockgate.runner.database.backends.postgresql import PostgreSQL  # noqa: PLC0415  # see the docstring

        return PostgreSQL()
    if kind == "mysql":
        from lockgate.runner.database.backends.mysql import MySQL  # noqa: PLC0415  # see the docstring

        return MySQL()
    if kind == "sqlite":
        from lockgate.runner.database.backends.sqlite import SQLite  # noqa: PLC0415  # see the docstring

        return SQLite()
    raise UnsupportedDatabase(
        f"The database is {name!r}.", advice="Lockgate migrates PostgreSQL, MySQL, MariaDB and SQLite."
    )


def kind_of(connection: Any) -> str:
    """Return the kind of a DBAPI connection (or SQLAlchemy's adapter of one); nothing where it is none of ours."""
    module = type(connection).__module__
    for kind in ("postgresql", "mysql", "sqlite"):
        if f"dialects.{kind}" in module:
            return kind
    return _MODULES.get(module.split(".")[0], "")
