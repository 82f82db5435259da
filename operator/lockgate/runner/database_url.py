"""From the URL that the application uses to one that Lockgate's own connections can use. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lockgate.errors import DriverNotInstalled, InvalidConfiguration, UnsupportedDatabase
from lockgate.runner.address import LIBPQ_ONLY, read_address

if TYPE_CHECKING:
    from sqlalchemy.engine.url import URL

__all__ = ["PLACEHOLDERS", "destination", "own_url"]

PLACEHOLDERS = ("", '""', "''", "driver://user:pass@localhost/dbname")
"""What ``sqlalchemy.url`` holds where nobody set it: nothing, MLflow's quoted nothing, Alembic's own template."""

_MODULES = {"psycopg": "psycopg", "psycopg2": "psycopg2", "asyncpg": "asyncpg", "pg8000": "pg8000"}
# Drivers that Lockgate replaces for itself by their synchronous twin.
_TWINS = {"psycopg_async": "psycopg", "psycopg2cffi": "psycopg2", "aiopg": "psycopg2"}


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
    if backend not in ("postgresql", "postgres"):
        raise UnsupportedDatabase(f"The database URL names {backend!r}.", advice="Lockgate migrates PostgreSQL.")
    chosen = _driver(driver, (default_driver, "psycopg", "psycopg2", "asyncpg", "pg8000"), installed)
    url = url.set(drivername=f"postgresql+{chosen}")
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


def _driver(named: str, order: Sequence[str], installed: Callable[[str], bool]) -> str:
    if named:
        driver = _TWINS.get(named, named)
        if installed(_MODULES.get(driver, driver)):
            return driver
        raise DriverNotInstalled(
            f"The database URL names the driver {named!r}, which this image does not contain.",
            advice="Install it in the image, or name one that is there in the URL.",
        )
    for driver in order:
        if installed(_MODULES[driver]):
            return driver
    raise DriverNotInstalled(
        "This image contains no PostgreSQL driver.", advice="Install psycopg, psycopg2 or asyncpg in the image."
    )


def _for_asyncpg(url: URL) -> URL:
    query = dict(url.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    return url.set(query={name: value for name, value in query.items() if name not in LIBPQ_ONLY})
