"""Lockgate's own connections: always autocommit, so that none ever sits in a transaction.

A connection that waits or watches inside a transaction makes CREATE INDEX CONCURRENTLY of the migration wait for it,
for ever. Where it can be, a connection is the driver's own (`direct`): SQLAlchemy is not imported then.
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lockgate.errors import DatabaseUnreachable
from lockgate.runner.database import outcome
from lockgate.runner.database.address import Address, direct_address
from lockgate.runner.database.backends import backend_of
from lockgate.runner.database.backends.backend import Backend
from lockgate.runner.database.direct import CONNECT_SECONDS, Session, open_direct
from lockgate.runner.database.session_settings import Settings, application_name

if TYPE_CHECKING:
    from sqlalchemy.engine.url import URL
    from sqlalchemy.exc import DBAPIError

__all__ = ["Database", "OwnConnection", "database_error", "is_own_thread", "own_work", "parse_url"]

_here = threading.local()


def is_own_thread() -> bool:
    """Return True while this thread opens or uses one of Lockgate's own connections: those are none of env.py's."""
    return getattr(_here, "own", False)


@contextlib.contextmanager
def own_work() -> Iterator[None]:
    """Say that what this thread does now is Lockgate's own."""
    outer, _here.own = is_own_thread(), True
    try:
        yield
    finally:
        _here.own = outer


def database_error() -> type[DBAPIError]:
    """Return the class of what connections raise; ``except`` evaluates the call only when there is an exception."""
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415  # see the top of this file

    return DBAPIError


def parse_url(value: str) -> Address | URL:
    """Return where own connections lead; errors as in `own_url`."""
    address = direct_address(value, _is_installed)
    if address is not None:
        return address
    from sqlalchemy.engine.url import make_url  # noqa: PLC0415  # see the top of this file

    from lockgate.runner.database.database_url import own_url  # noqa: PLC0415

    default = make_url("postgresql://").get_dialect().driver
    return own_url(value, default_driver=default, installed=_is_installed)


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


class Database:
    """Opens own connections to one database."""

    def __init__(self, url: Address | URL, settings: Settings) -> None:
        """Remember the URL and what each session is given; opens nothing."""
        self.url = url
        self.backend = backend_of("postgresql" if isinstance(url, Address) else url.get_backend_name())
        self._settings = settings

    def connect(self, role: str) -> OwnConnection:
        """Open a connection; ``role`` is what it is for, and becomes the last word of its ``application_name``.

        Raises what the driver raises: `outcome.classify` knows what it means.
        """
        settings = self._settings.named(role)
        url = self.url if isinstance(self.url, Address) else self.backend.own(self.url, role)
        connection = OwnConnection(
            self._open(url), self.backend, application_name(settings), stands_in=url is not self.url
        )
        try:
            self.backend.prepare_own(connection.rows, settings)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open(self, url: Address | URL) -> Session:
        if isinstance(url, Address):
            return open_direct(url)
        from lockgate.runner.database.engine_session import open_engine  # noqa: PLC0415  # see the top of this file

        return open_engine(url, self.backend.connect_arguments(url, CONNECT_SECONDS))


class OwnConnection:
    """One autocommit session; every call is one statement and over when it returns."""

    def __init__(self, session: Session, backend: Backend, name: str, *, stands_in: bool) -> None:
        self._session = session
        self.backend = backend
        self.name = name
        """What it is called where the server shows such names."""
        self.stands_in = stands_in
        """It leads to an empty database, as there is none yet (SQLite): to look again, connect again."""
        self.reported_pid = session.reported_pid
        """The backend's process id as said at connect, which behind a pooler is not the backend's."""

    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; ``:name`` in it stands for a parameter."""
        return self._ask(lambda: self._session.rows(sql, parameters))

    def value(self, sql: str, **parameters: Any) -> Any:
        """Return the first column of the first row."""
        return self.rows(sql, **parameters)[0][0]

    def verbatim(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement of the user's exactly as written: no ``:name``, no ``%`` has a meaning."""
        return self._ask(lambda: self._session.verbatim(sql))

    def _ask(self, work: Callable[[], list[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
        """Raise DatabaseUnreachable where the session is lost, each time; else what `database_error` says."""
        try:
            return work()
        except Exception as error:
            known = outcome.classify(error)
            if type(known) is DatabaseUnreachable:  # a refused write is no lost session
                raise known from error
            raise

    def close(self) -> None:
        """End the session, and with it every session lock that it holds; never raises."""
        self._session.close()
