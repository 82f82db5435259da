"""What an exception means: worth another try, or not, and in which words. Pure.

SQLAlchemy's message of a database error contains the statement's parameters, and PostgreSQL's DETAIL contains values of
rows. Neither is private to the migration, so neither is repeated: only the primary message is.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import traceback
from collections.abc import Callable, Iterator

from lockgate.errors import DriverNotInstalled, InvalidConfiguration, LockgateError, MigrationFailed
from lockgate.runner.database.backends import mysql_errors, sqlite_errors
from lockgate.runner.database.database_errors import (
    busy,
    cancelled,
    certificate_refused,
    login_refused,
    no_dialect,
    no_session_left,
    read_only,
    unreachable,
)
from lockgate.runner.database.error_texts import shown_text
from lockgate.runner.wording import sentence

__all__ = [
    "ADVICE_RIGHTS",
    "brief",
    "brief_at",
    "chain",
    "classify",
    "code_of",
    "is_refused_write",
    "sqlstate_of",
    "where",
    "words_of",
]

BUSY = {"55P03": "lock timeout", "40P01": "deadlock", "40001": "serialization failure"}
"""SQLSTATE: other sessions hold what the statement needs."""

_BY_STATE: dict[str, Callable[[str], LockgateError]] = {
    "25006": read_only,
    "53300": no_session_left,
    "57014": cancelled,
}
GONE = {"57P01", "57P02", "57P03", "57P04", "57P05"}
"""SQLSTATE: the server ends the session, or takes none. After 57P04, the next try to connect says that the database is
gone."""
REFUSED_LOGIN = {"28000", "28P01", "3D000"}
"""SQLSTATE: user, password or database is not known."""
_MISSPELT = re.compile(
    r"invalid (?:\w+ value|connection option|dsn)|unexpected keyword argument|parameter must be one of"
)
"""What drivers say of an option in the URL that they do not know, or of its value."""

_DRIVERS = ("psycopg", "psycopg2", "asyncpg", "greenlet", "pymysql", "MySQLdb", "aiomysql", "asyncmy", "aiosqlite")
"""Modules that a URL may need, and an image may lack."""

_DISCONNECTED = (
    "server closed the connection",
    "connection already closed",
    "connection is closed",
    "the connection is lost",
    "connection was closed",
    "terminating connection",
    "could not connect",
    "connection refused",
    "connection failed",
    "connection to server",  # how libpq begins everything about connecting since PostgreSQL 14
    "too many clients",
    "the database system is",
    "connection timeout",
    "could not translate host",
    "name or service not known",
    "temporary failure in name resolution",
    "no route to host",
    "network is unreachable",
    "connection timed out",
    "timeout expired",
    "ssl connection has been closed",
    "eof detected",
    "broken pipe",
    "connection reset",
    "cannot switch to state",  # asyncpg, of a connection that was lost inside an operation
    "can't reconnect until invalid transaction",  # SQLAlchemy of every statement after the one that noticed it
)


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception and everything it stands for: wrapped, causing, grouped; outermost first."""
    seen: set[int] = set()
    queue: list[BaseException] = [error]
    while queue:
        item = queue.pop(0)
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        nested = [getattr(item, "orig", None), item.__cause__, item.__context__, *getattr(item, "exceptions", ())]
        queue += [other for other in nested if isinstance(other, BaseException)]


def sqlstate_of(error: BaseException) -> str:
    """Return the SQLSTATE of the database error behind an exception, or nothing (psycopg2 calls it pgcode)."""
    for item in chain(error):
        state = getattr(item, "sqlstate", None) or getattr(item, "pgcode", None)
        if isinstance(state, str) and len(state) == 5:
            return state
    return ""


def code_of(error: BaseException) -> str:
    """Return the SQLSTATE of the database error behind an exception, or what the database has instead, or nothing."""
    state = sqlstate_of(error)
    if state:
        return state
    for item in chain(error):
        number = mysql_errors.number_of(item)
        if number or sqlite_errors.is_sqlite(item):
            return str(number) if number else str(getattr(item, "sqlite_errorname", "SQLITE_ERROR"))
    return ""


def is_refused_write(error: BaseException) -> bool:
    """Return whether something was to be written over a read-only session."""
    if sqlstate_of(error) == "25006":
        return True
    found = list(chain(error))
    return any(mysql_errors.number_of(item) in mysql_errors.READ_ONLY for item in found) or any(
        sqlite_errors.is_sqlite(item) and sqlite_errors.is_refused_write(words_of(item)) for item in found
    )


def words_of(error: BaseException) -> str:
    """Return what an exception says; nothing where saying it fails: the class can be the user's code."""
    try:
        return str(error)
    except Exception:
        return ""


def brief(error: BaseException) -> str:
    """Return one line about an exception, without parameters, literals and values of rows."""
    found = list(chain(error))
    return shown_text(_said(found), sqlstate_of(error), found, _dialect_of(found))


def _said(found: list[BaseException]) -> str:
    """Return the words of the innermost error that has some of its own."""
    for item in found:
        primary = getattr(getattr(item, "diag", None), "message_primary", None) or _of_pg8000(item)
        if primary:
            return str(primary)
    for item in found:
        if mysql_errors.number_of(item):
            return mysql_errors.without_values(mysql_errors.message_of(item)).rstrip(".")
        if isinstance(getattr(item, "sqlstate", None), str) or getattr(item, "orig", None) is None:
            return _first_line(item)
    return type(found[0]).__name__


def _of_pg8000(error: BaseException) -> str:
    """Return the message among the fields of which pg8000 makes an exception."""
    fields = error.args[0] if error.args else None
    return str(fields.get("M", "")) if isinstance(fields, dict) else ""


def _dialect_of(found: list[BaseException]) -> str:
    if any(mysql_errors.number_of(item) for item in found):
        return "mysql"
    return "sqlite" if any(sqlite_errors.is_sqlite(item) for item in found) else "postgresql"


def _first_line(error: BaseException) -> str:
    if isinstance(error, LockgateError):
        return str(error)
    lines = [line.strip() for line in words_of(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    if text.startswith("<class '"):  # SQLAlchemy's adapter for asyncpg puts the class before the message
        return text.partition(">: ")[2]
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def where(error: BaseException, folders: tuple[str, ...]) -> str:
    """Return ``file.py:line`` of the innermost frame in a file below one of ``folders``, or nothing."""
    found = ""
    for item in chain(error):
        for frame in traceback.extract_tb(item.__traceback__):
            if os.path.realpath(frame.filename).startswith(folders):
                found = f"{os.path.basename(frame.filename)}:{frame.lineno}"
        if found:
            break
    return found


def brief_at(error: BaseException, folders: tuple[str, ...]) -> str:
    """Return `brief` of an exception, and `where` it was raised in the project."""
    place = where(error, folders)
    return f"{brief(error)} at {place}" if place else brief(error)


def classify(error: BaseException, *, connecting: bool = False) -> LockgateError:  # noqa: PLR0911  # one line a case
    """Return the error of our tree that ``error`` amounts to; ``connecting``: it came from opening a connection."""
    state = sqlstate_of(error)
    said = _NOISE.sub("", brief(error)) if connecting or state in REFUSED_LOGIN | {"53300"} else brief(error)
    known = _known(error, said)
    if known is not None:
        return known
    if state in BUSY:
        return busy(BUSY[state], said)
    if state in _BY_STATE:
        return _BY_STATE[state](said)
    refused = _refusal(error, state, said, connecting=connecting)
    if refused is not None:
        return refused
    if _is_disconnect(error, state):
        return unreachable(said)
    if isinstance(error, ModuleNotFoundError) and error.name in _DRIVERS:
        return DriverNotInstalled(
            f"{error.name} is not installed for {sys.executable}.", advice="Install it there (in the image)."
        )
    if any(isinstance(item, MemoryError) for item in chain(error)):
        return MigrationFailed(
            "The process has no memory left.",
            advice="Raise the memory limit of the container migrate in spec.template.spec.containers.",
        )
    if connecting:
        return unreachable(said)
    return _failed(state, said)


_NOISE = re.compile(r"^\w+(?:Error|Exception): (?:connection failed: )?|(?<=FATAL:) (?= )")
"""What drivers put before the words of a connection that failed: the name of a class, a headline of their own."""
ADVICE_RIGHTS = "Grant that right to the role in the URL, or migrate with the role that owns the schema."
"""Of SQLSTATE 42501."""


def _failed(state: str, said: str) -> MigrationFailed:
    if state == "42501":
        return MigrationFailed(f"The database role lacks a right: {said}.", advice=ADVICE_RIGHTS)
    return MigrationFailed(sentence(said))


def _known(error: BaseException, said: str) -> LockgateError | None:
    """Return what is ours already, or what a database without SQLSTATE says."""
    for item in chain(error):
        if isinstance(item, LockgateError):
            return item
    for item in chain(error):
        number = mysql_errors.number_of(item)
        known = mysql_errors.meaning(number, said) if number else None
        if known is None and sqlite_errors.is_sqlite(item):
            known = sqlite_errors.meaning(words_of(item))
        if known is not None:
            return known
    return None


def _refusal(error: BaseException, state: str, said: str, *, connecting: bool) -> InvalidConfiguration | None:
    """Return the error where the server refuses the login, or SQLAlchemy or the driver the URL."""
    if any(type(item).__name__ == "NoSuchModuleError" for item in chain(error)):  # SQLAlchemy's, not imported here
        return no_dialect(said)
    if state in REFUSED_LOGIN or (connecting and state == "42501"):
        return login_refused(said)
    if any(type(item).__name__ == "SSLCertVerificationError" for item in chain(error)):  # of asyncpg and pg8000
        return certificate_refused(said)
    if connecting and not state and (_is_not_understood(error) or _MISSPELT.search(said)):
        return InvalidConfiguration(
            f"The driver does not take the database URL: {said}.", advice="Check what follows the ? in the URL."
        )
    return None


def _is_not_understood(error: BaseException) -> bool:
    """Say whether a driver cannot make anything of its arguments, which is before it asks any server."""
    return any(
        isinstance(item, (TypeError, ValueError)) or _is_of_driver(item, "ProgrammingError") for item in chain(error)
    )


def _is_of_driver(error: BaseException, name: str) -> bool:
    kind = type(error)
    return kind.__name__ == name and kind.__module__.partition(".")[0] in _DRIVERS


def _is_of_asyncpg_connecting(error: BaseException) -> bool:
    """Say whether asyncpg gave up connecting: its error is Python's plain TimeoutError, only its frames tell."""
    frames = traceback.walk_tb(error.__traceback__)
    places = {(str(frame.f_globals.get("__name__")), frame.f_code.co_name) for frame, _ in frames}
    return ("asyncpg.connection", "connect") in places or any(name == "asyncpg.connect_utils" for name, _ in places)


def _is_disconnect(error: BaseException, state: str) -> bool:
    if state:
        return state.startswith("08") or state in GONE
    for item in chain(error):
        if getattr(item, "connection_invalidated", False) or isinstance(item, (ConnectionError, socket.gaierror)):
            return True
        if type(item).__module__.split(".")[0] in ("psycopg", "psycopg2", "asyncpg", "sqlalchemy"):
            text = words_of(item).lower()
            if any(words in text for words in _DISCONNECTED):
                return True
        if type(item).__name__ == "TimeoutError" and _is_of_asyncpg_connecting(item):
            return True
    return False
