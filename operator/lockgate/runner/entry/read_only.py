"""Makes the sessions of env.py read-only, where it is entered to learn something and not to migrate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from lockgate.runner.database.backends import backend_of, kind_of
from lockgate.runner.database.connection import is_own_thread
from lockgate.runner.database.dbapi import asking

__all__ = ["forbid_writes", "only_reading"]


@contextmanager
def only_reading() -> Iterator[None]:
    """Make each session that env.py opens read-only, for as long as it lives."""
    event.listen(Engine, "connect", forbid_writes)
    try:
        yield
    finally:
        event.remove(Engine, "connect", forbid_writes)


def forbid_writes(connection: Any, *_: Any) -> None:
    """Make a session of env.py read-only: a listener to ``connect`` and ``checkout``."""
    if not is_own_thread() and (kind := kind_of(connection)):
        backend_of(kind).forbid_writes(asking(connection))
        connection.commit()  # or the setting would be rolled back
