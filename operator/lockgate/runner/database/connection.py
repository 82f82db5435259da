"""Lockgate's own connections: always autocommit, so that none ever sits in a transaction.

A connection that waits or watches inside a transaction makes CREATE INDEX CONCURRENTLY of the migration wait for it,
for ever. Where it can be, a connection is the driver's own (`direct`): SQLAlchemy is not imported then.
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from lockgate.errors import DatabaseUnreachable, InvalidConfiguration, LockgateError
from lockgate.runner.database import outcome
from lockgate.runner.database.address import Address, direct_address, misspelling
from lockgate.runner.database.backends import backend_of
from lockgate.runner.database.backends.backend import Backend
from lockgate.runner.database.direct import CONNECT_SECONDS, Session, open_direct
from lockgate.runner.database.lent_engine import LentEngine
from lockgate.runner.database.session_settings import Settings, application_name

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.url import URL
    from sqlalchemy.exc import DBAPIError

__all__ = ["Database", "Lend", "OwnConnection", "database_error", "is_own_thread", "own_work", "parse_url"]

Way: TypeAlias = "Address | URL | LentEngine"
"""How to connect."""
Lend: TypeAlias = "Callable[[], Engine]"
"""Returns an engine by which env.py connects; LockgateError where env.py does not get that far."""

_NO_DATABASE = "3D000"

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
    """Return where own connections lead; errors as in `misspelling` and `own_url`."""
    error = misspelling(value)
    if error is not None:
        raise error
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
    """Opens own connections to one database: as its URL says, or as an engine of env.py's does."""

    def __init__(self, way: Way | None, settings: Settings, lend: Lend | None = None) -> None:
        """Remember how to connect and what each session is given; opens nothing.

        ``lend`` enters env.py for its engine. It is called where there is no ``way``, or where the database refuses the
        first session by it; the engine is the way from then on.
        """
        self._way = way
        self._settings = settings
        self._lend = lend
        self._objection: LockgateError | None = None
        """Why the URL is no way."""
        self._opened = False
        self.url: URL | None = None
        """The URL of env.py's engine, where that is the way."""

    @classmethod
    def of_url(
        cls,
        url: str,
        settings: Settings,
        lend: Lend | None = None,
        objection: LockgateError | None = None,
        *,
        env_first: bool = False,
    ) -> Database:
        """Return the database that a URL leads to; InvalidConfiguration where it is none and there is nothing to lend.

        ``objection`` says why there is no URL. ``env_first``: it is no way before env.py has connected.
        """
        if env_first and lend is not None:
            return cls(None, settings, lend)
        if objection is None:
            try:
                return cls(parse_url(url), settings, lend)
            except LockgateError as error:
                objection = error
        if lend is None:
            raise objection
        database = cls(None, settings, lend)
        database._objection = objection
        return database

    @classmethod
    def of_engine(cls, engine: Engine, settings: Settings) -> Database:
        """Return the database of an engine of env.py's, connected to as that engine does."""
        return cls(_way_of(engine), settings)

    @property
    def backend(self) -> Backend:
        """What kind of database it is; env.py is entered where only that knows."""
        return backend_of(_backend_name(self._way or self._borrow()))

    def connect(self, role: str) -> OwnConnection:
        """Open a connection; ``role`` is what it is for, and becomes the last word of its ``application_name``.

        Raises what the driver raises: `outcome.classify` knows what it means.
        """
        way = self._way or self._borrow()
        try:
            connection = self._connect(way, role)
        except Exception as caught:
            error = outcome.classify(caught, connecting=True)
            if self._opened or not isinstance(error, InvalidConfiguration) or isinstance(way, LentEngine):
                raise
            self._objection = error
            try:
                way = self._borrow()
            except LockgateError:
                if outcome.sqlstate_of(caught) != _NO_DATABASE:
                    raise
                # Perhaps env.py has met another process that makes the database: then it is there now.
            connection = self._connect(way, role)
        self._opened = True
        return connection

    def turn_to_environment(self, objection: LockgateError) -> bool:
        """Enter env.py for its engine where the URL leads to what cannot be used; return whether that is a new way.

        Raises the objection where env.py does not get there either.
        """
        if self._lend is None or isinstance(self._way, LentEngine):
            return False
        self._objection = objection
        self._borrow()
        return True

    def _borrow(self) -> Way:
        """Enter env.py for its engine; raises the objection to the URL where env.py does not get further either."""
        lend, self._lend = self._lend, None  # another thread must not enter env.py too
        if lend is None:
            raise self._objection or DatabaseUnreachable("How to connect is not known before env.py has connected.")
        try:
            engine = lend()
            self._way, self.url = _way_of(engine), engine.url
        except LockgateError as error:
            self._lend = lend
            raise (self._objection or error) from error
        return self._way

    def _connect(self, way: Way, role: str) -> OwnConnection:
        settings, backend = self._settings.named(role), backend_of(_backend_name(way))
        used = way if isinstance(way, (Address, LentEngine)) else backend.own(way, role)
        connection = OwnConnection(_open(used, backend), backend, settings, stands_in=used is not way)
        try:
            backend.prepare_own(connection.rows, settings)
        except BaseException:
            connection.close()
            raise
        return connection


def _open(way: Way, backend: Backend) -> Session:
    if isinstance(way, Address):
        return open_direct(way)
    if isinstance(way, LentEngine):
        with own_work():
            return way.open()
    from lockgate.runner.database.engine_session import open_engine  # noqa: PLC0415  # see the top of this file

    return open_engine(way, backend.connect_arguments(way, CONNECT_SECONDS))


def _way_of(engine: Engine) -> Way:
    if engine.dialect.name == "sqlite":  # a file has one way in, and the backend opens it as a look may
        return parse_url(engine.url.render_as_string(hide_password=False))
    return LentEngine(engine)


def _backend_name(way: Way) -> str:
    if isinstance(way, Address):
        return "postgresql"
    return way.backend_name if isinstance(way, LentEngine) else way.get_backend_name()


class OwnConnection:
    """One autocommit session; every call is one statement and over when it returns."""

    def __init__(self, session: Session, backend: Backend, settings: Settings, *, stands_in: bool) -> None:
        self._session = session
        self._settings = settings
        self._closed = False
        self.backend = backend
        self.stands_in = stands_in
        """It leads to an empty database, as there is none yet (SQLite): to look again, connect again."""
        self.sslmode = session.sslmode
        self.reported_pid = session.reported_pid
        """The backend's process id as said at connect, which behind a pooler is not the backend's."""

    def named(self, role: str) -> str:
        """Return what the session is called with another role, where the server shows such names."""
        return application_name(self._settings.named(role))

    def rename(self, role: str) -> None:
        """Give the session another role from now on."""
        self._settings = self._settings.named(role)
        self.backend.rename(self.rows, self._settings)

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
        if not self._closed:
            self._closed = True
            self._session.close()
