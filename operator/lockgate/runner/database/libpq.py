"""Asks libpq for the SQLSTATE with which a server refuses a login: the drivers that use it only tell the words.

Those words are in the server's language. libpq prints the code where it is told to before it has the answer, and no
driver tells it. So a login that was refused is made once more, by the library that the driver has loaded.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

__all__ = ["DRIVERS", "refused_with"]

DRIVERS = ("psycopg", "psycopg_async", "psycopg2")
"""SQLAlchemy's names of the drivers that use libpq."""

SECONDS = 5.0
"""How long the login may take: whoever made it before has waited already."""

_CODE = re.compile(r":  ([0-9A-Z]{5})(?::|\s*$)", re.MULTILINE)
_OF_DRIVERS = ("context", "row_factory", "cursor_factory", "autocommit", "prepare_threshold", "connection_factory")
"""Arguments of a driver's connect() that libpq does not know."""
_ALIASES = {"database": "dbname"}  # psycopg2's
_WITH_CODE = 3
"""PQERRORS_SQLSTATE; a libpq before 12 prints the code and the words."""
_UNSAID = "28P01"
"""Of a login for which the server wants a password and libpq has none: libpq ends it, as if it were a wrong one."""
_FAILED, _READS, _CONNECTED = 0, 1, 3
"""PGRES_POLLING_FAILED, PGRES_POLLING_READING, PGRES_POLLING_OK."""


def refused_with(arguments: Mapping[str, Any]) -> str:
    """Return the SQLSTATE, or nothing where there is none: it was let in, or no server answered.

    ``arguments`` are those of the driver's connect().
    """
    given = {_ALIASES.get(name, name): value for name, value in arguments.items()}
    known = {name: str(value) for name, value in given.items() if name not in _OF_DRIVERS and value is not None}
    with suppress(OSError, ImportError, AttributeError, ValueError):  # no such library here, or no way to find it
        return _state(_library(), known)
    return ""


def _library() -> Any:
    """Return the libpq that is loaded already."""
    import ctypes  # noqa: PLC0415  # some Pythons are built without it

    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        paths = sorted({line.split(maxsplit=5)[-1].strip() for line in maps if "/libpq" in line})
    if not paths:
        raise OSError("no libpq is loaded")
    library = ctypes.CDLL(paths[0])
    library.PQconnectStartParams.restype = ctypes.c_void_p
    library.PQerrorMessage.restype = ctypes.c_char_p
    for name in ("PQsocket", "PQconnectPoll", "PQerrorMessage", "PQconnectionNeedsPassword", "PQfinish"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.PQsetErrorVerbosity.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


def _state(library: Any, arguments: Mapping[str, str]) -> str:
    """Connect, and return the SQLSTATE of the error; one connection is used by one library from start to end."""
    import ctypes  # noqa: PLC0415  # see `_library`

    kind = ctypes.c_char_p * (len(arguments) + 1)
    names, values = kind(*map(str.encode, arguments), None), kind(*map(str.encode, arguments.values()), None)
    connection = library.PQconnectStartParams(names, values, 1)
    try:
        library.PQsetErrorVerbosity(connection, _WITH_CODE)
        _finish(library, connection)
        if library.PQconnectionNeedsPassword(connection):
            return _UNSAID
        found = _CODE.findall((library.PQerrorMessage(connection) or b"").decode(errors="replace"))
        return str(found[-1]) if found else ""
    finally:
        library.PQfinish(connection)


def _finish(library: Any, connection: int) -> None:
    """Go on until the connection is there, or refused, or `SECONDS` are over."""
    state, deadline = None, time.monotonic() + SECONDS
    while state not in (_FAILED, _CONNECTED) and time.monotonic() < deadline:
        end = library.PQsocket(connection)
        if end < 0:
            return
        reads, writes = [end] * (state == _READS), [end] * (state != _READS)
        if any(select.select(reads, writes, [], max(deadline - time.monotonic(), 0))):
            state = library.PQconnectPoll(connection)
