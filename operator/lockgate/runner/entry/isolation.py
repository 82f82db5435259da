"""Keeps a revision that is only rendered from doing anything: it reaches no database, and starts no program.

Rendering runs its function. What that sends by `op` goes to a buffer; what it does by itself (COPY through the driver,
an engine of its own, psql) would be done. So while it runs, engines hand out no connection and send no statement, the
drivers that connect below Python do not connect, and an audit hook refuses sockets, files of SQLite and processes.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from lockgate.runner.database.connection import is_own_thread

__all__ = ["Withheld", "isolated"]

CONNECTS = "it works over a connection of its own"
STARTS = "it starts a program"

_AUDITED = {
    "socket.connect": CONNECTS,
    "sqlite3.connect": CONNECTS,
    "sqlite3.connect/handle": CONNECTS,
    **dict.fromkeys(
        ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn"), STARTS
    ),
}
"""Events of Python's, and what they mean of a revision."""

_CONNECTING = (
    ("psycopg", ("Connection", "_connect_gen")),
    ("psycopg", ("AsyncConnection", "_connect_gen")),
    ("psycopg", ("Connection", "connect")),
    ("psycopg", ("AsyncConnection", "connect")),
    ("psycopg", ("connect",)),
    ("psycopg2", ("_connect",)),
    ("psycopg2", ("connect",)),
    ("asyncpg.connect_utils", ("_connect",)),
    ("asyncpg", ("connect",)),
    ("MySQLdb.connections", ("Connection", "__init__")),
)
"""Where drivers begin to connect that do so below Python (or may, as asyncpg with uvloop)."""


class Withheld(RuntimeError):
    """What a revision wanted to do by itself is not done."""


_open: list[list[str]] = []
"""What was withheld from the revision that is rendered; empty while none is."""
_is_listening: list[bool] = []


@contextmanager
def isolated() -> Iterator[list[str]]:
    """Run a revision without effect; yield what is withheld from it, also where it catches the error."""
    if not _is_listening:
        sys.addaudithook(_audit)  # for good: Python has no way to take it back
        _is_listening.append(True)
    withheld: list[str] = []
    with contextlib.ExitStack() as stack:
        for name in ("do_connect", "checkout", "before_cursor_execute"):
            event.listen(Engine, name, _refuse_engine)
            stack.callback(event.remove, Engine, name, _refuse_engine)
        for module, path in _CONNECTING:
            _replace(stack, module, path)
        _open.append(withheld)
        stack.callback(_open.remove, withheld)
        yield withheld


def _audit(name: str, _: Any) -> None:
    if _open and name in _AUDITED and not is_own_thread():
        _refuse(_AUDITED[name])


def _refuse_engine(*_: Any) -> None:
    if not is_own_thread():
        _refuse(CONNECTS)


def _refuse(what: str) -> None:
    if _open:
        _open[-1].append(what)
        raise Withheld(what)


def _replace(stack: contextlib.ExitStack, module: str, path: tuple[str, ...]) -> None:
    """Let a function of a driver refuse, until the stack is unwound; a driver that has none of that name is left."""
    try:
        owner: Any = importlib.import_module(module)  # or the revision would be the first to import it
        for name in path[:-1]:
            owner = getattr(owner, name)
        before = vars(owner).get(path[-1])
        if not hasattr(owner, path[-1]):
            return
        setattr(owner, path[-1], staticmethod(_refuse_connection))
    except Exception:  # not installed, not importable here, or compiled: what it is and what it raises is its own
        return
    if before is None:  # inherited
        stack.callback(delattr, owner, path[-1])
    else:
        stack.callback(setattr, owner, path[-1], before)


def _refuse_connection(*_: Any, **__: Any) -> Any:
    _refuse(CONNECTS)
