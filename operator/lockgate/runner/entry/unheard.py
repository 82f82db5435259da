"""Tells an `InputRecorder` of what Python's audit events do not: files that are missed, the driver's own connection.

A settings file is often optional: whether ``.env`` exists is asked by ``os.stat``, and it is never opened where it is
not there. A query over the driver's own connection passes by SQLAlchemy's events. While env.py runs, the functions
through which both go are exchanged, and put back.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from sqlalchemy.engine import Connection, Engine

from lockgate.runner.database.connection import is_own_thread

__all__ = ["listening"]

_DRIVERS = ("psycopg", "psycopg2", "asyncpg", "pg8000", "pymysql", "MySQLdb")
_OURS = ("sqlalchemy", "alembic", "lockgate", *_DRIVERS)
"""Packages that connect as part of their work."""


@contextmanager
def listening(missed: Callable[[Any], None], connects: Callable[[], None]) -> Iterator[None]:
    """Call ``missed`` with each path that is not there, and ``connects`` where env.py uses the driver by itself."""

    def noting(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not is_own_thread() and not _is_for_engine():
                connects()
            return function(*args, **kwargs)

        return call

    with ExitStack() as stack:
        _exchange(stack, os, "stat", _Stat(os.stat, missed))
        handed_out: Any = vars(Connection)["connection"]
        _exchange(stack, Connection, "connection", property(noting(handed_out.__get__)))
        _exchange(stack, Engine, "raw_connection", noting(Engine.raw_connection))
        for name in _DRIVERS:
            driver = sys.modules.get(name)
            if driver is not None and hasattr(driver, "connect"):
                _exchange(stack, driver, "connect", noting(driver.connect))
        yield


def _is_for_engine() -> bool:
    """Return whether an engine asks for what is called, perhaps through a function of env.py's (``creator``)."""
    frame = sys._getframe(2)
    for _ in range(4):
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] in _OURS:
            return True
        if frame.f_back is None:
            break
        frame = frame.f_back
    return False


class _Stat:
    """``os.stat``, which tells of each path that is not there; ``os.supports_dir_fd`` and its kin contain it too."""

    def __init__(self, stat: Callable[..., Any], missed: Callable[[Any], None]) -> None:
        self._stat = stat
        self._missed = missed

    def __call__(self, path: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._stat(path, *args, **kwargs)
        except (FileNotFoundError, NotADirectoryError):
            self._missed(path)
            raise

    def __eq__(self, other: object) -> bool:
        return other is self or other == self._stat

    def __hash__(self) -> int:
        return hash(self._stat)


def _exchange(stack: ExitStack, owner: Any, name: str, other: Any) -> None:
    before = getattr(owner, name) if not isinstance(owner, type) else vars(owner)[name]
    setattr(owner, name, other)
    stack.callback(setattr, owner, name, before)
