"""Makes the sessions of env.py read-only, where it is entered to learn something and not to migrate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from lockgate.runner.database.backends import backend_of, kind_of
from lockgate.runner.database.connection import OwnConnection, is_own_thread
from lockgate.runner.database.dbapi import asking

__all__ = ["forbid_writes", "libpq_reads_only", "only_reading"]

_OPTION = "-c default_transaction_read_only=on"


@contextmanager
def only_reading() -> Iterator[None]:
    """Make each session that env.py opens read-only, for as long as it lives."""
    event.listen(Engine, "connect", forbid_writes)
    try:
        yield
    finally:
        event.remove(Engine, "connect", forbid_writes)


@contextmanager
def libpq_reads_only(connection: OwnConnection) -> Iterator[None]:
    """Make each session read-only that libpq opens in this process, and in those that it starts, by PGOPTIONS.

    That is what env.py does without SQLAlchemy: through a driver, or by psql. ``connection`` leads where those will:
    behind a pooler, of which many refuse such an option, nothing is set.
    """
    direct = connection.reported_pid
    if direct is None or direct != connection.backend.session_of(connection.rows):
        yield
        return
    before = os.environ.get("PGOPTIONS")
    os.environ["PGOPTIONS"] = f"{before or ''} {_OPTION}".strip()
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("PGOPTIONS", None)
        else:
            os.environ["PGOPTIONS"] = before


def forbid_writes(connection: Any, *_: Any) -> None:
    """Make a session of env.py read-only: a listener to ``connect`` and ``checkout``."""
    if not is_own_thread() and (kind := kind_of(connection)):
        backend_of(kind).forbid_writes(asking(connection))
        connection.commit()  # or the setting would be rolled back
