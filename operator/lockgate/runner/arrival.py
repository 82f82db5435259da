"""The moment when env.py hands its connection to Alembic: facts about it, the settings, the fence.

No statement of Lockgate's may stay in an open transaction here: Alembic would take it for one of env.py's and commit
nothing. So a connection that arrives outside a transaction leaves outside one; one that arrives inside stays inside.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Connection

from lockgate.errors import DatabaseBusy, DatabaseReadOnly, TransactionPooler
from lockgate.runner import history, lineage, statements
from lockgate.runner.durations import spoken
from lockgate.runner.engine_session import reported_pid
from lockgate.runner.lock import AdvisoryLock, Holder, acquire, fence_key
from lockgate.runner.progress import Narrator
from lockgate.runner.server import FINGERPRINT
from lockgate.runner.session_settings import Settings, settings_statement

__all__ = ["Arrival", "arrive", "in_own_transaction", "keep_settings"]


@dataclass(frozen=True)
class Arrival:
    """What is known about a connection and the version table that env.py configured on it."""

    fingerprint: str
    schema: str
    table: str
    fence: int
    in_transaction: bool
    """It arrived inside a transaction of env.py's, which Alembic leaves to env.py."""
    writes_history: bool
    keeps_statements: bool
    encoding: str
    """Of the database."""
    url: Any
    lineage: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the source of each revision that was applied, as recorded."""

    @property
    def version_table(self) -> str:
        """The table, as lockgate.history and lockgate.statements call it."""
        return f"{self.schema}.{self.table}"


@contextmanager
def in_own_transaction(connection: Connection) -> Iterator[None]:
    """Leave the connection in the state in which it came: in env.py's transaction, or in none."""
    if connection.in_transaction():
        yield
    else:
        with connection.begin():
            yield


def keep_settings(connection: Connection | None, settings: Settings) -> None:
    """Set the session again, as a revision may have changed it; what is stricter stays."""
    if connection is not None:
        with in_own_transaction(connection):
            connection.execute(text(settings_statement(settings)))


def arrive(
    connection: Connection, *, schema: str | None, table: str, settings: Settings, fence_wait: float, narrator: Narrator
) -> Arrival:
    """Examine the connection, set it, and take the fence on it; LockBusy after ``fence_wait`` seconds."""
    in_transaction = connection.in_transaction()
    with in_own_transaction(connection):
        facts = connection.execute(text(_FACTS), _names(schema, table)).one()
        fingerprint, pid, recovery, writes, keeps, encoding, found = facts
        parents, sources = _recorded(connection, found, table) if writes else ({}, {})
        connection.execute(text(settings_statement(settings)))
    if recovery:
        raise DatabaseReadOnly("env.py connects to a standby, which takes no DDL.", advice="Point it at the primary.")
    told = reported_pid(connection)
    if (
        told is not None
        and told != pid
        and "lockgate_pid" in connection.info
        and connection.info["lockgate_pid"] != pid
    ):
        raise TransactionPooler(
            "env.py connects through a transaction pooler, where a session lock protects nothing.",
            advice="Give it a URL that leads to the server itself (database.directUrlFrom).",
        )
    arrival = Arrival(
        fingerprint=fingerprint,
        schema=found,
        table=table,
        fence=fence_key(found, table),
        in_transaction=in_transaction,
        writes_history=writes,
        keeps_statements=keeps,
        encoding=encoding,
        url=connection.engine.url,
        lineage=parents,
        sources=sources,
    )
    _take_fence(connection, arrival, fence_wait, narrator)
    return arrival


def _recorded(connection: Connection, schema: str, table: str) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    def query(sql: str, **parameters: object) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.execute(text(sql), parameters)]

    return lineage.lineage(query, schema, table), lineage.sources(query, schema, table)


_FACTS = (
    f"SELECT {FINGERPRINT}, pg_backend_pid(), pg_is_in_recovery(), {history.MAY_WRITE}, {statements.MAY_KEEP},"
    " getdatabaseencoding(),"
    " coalesce((SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.oid = to_regclass(CAST(:name AS text))), CAST(:schema AS text), current_schema(), 'public')"
)


def _names(schema: str | None, table: str) -> dict[str, str | None]:
    """Find the table as Alembic will: in the schema named, else by the session's search_path."""
    name = history.quoted(table) if not schema else f"{history.quoted(schema)}.{history.quoted(table)}"
    return {"name": name, "schema": schema}


def _take_fence(connection: Connection, arrival: Arrival, wait: float, narrator: Narrator) -> None:
    held: set[int] = connection.info.setdefault("lockgate_fences", set())
    if arrival.fence in held:
        return

    def query(sql: str) -> list[tuple[Any, ...]]:
        with in_own_transaction(connection):
            return [tuple(row) for row in connection.execute(text(sql))]

    def waiting(holder: Holder | None, waited: float) -> None:
        if arrival.in_transaction:
            # Polling inside a transaction would stop the other one's CREATE INDEX CONCURRENTLY: end it, come again.
            raise DatabaseBusy(f"Another session migrates {arrival.table}: {holder or 'fence held'}.")
        sentence = f"waiting for the fence: {holder} ({spoken(waited)})"
        if narrator.progress.waiting_for != str(holder or ""):
            narrator.tell("waiting", sentence, waiting_for=str(holder or ""))

    lock = AdvisoryLock(query, arrival.fence)
    acquire(lock, wait=wait, clock=time.monotonic, sleep=time.sleep, uniform=random.uniform, waiting=waiting)
    held.add(arrival.fence)
    narrator.tell("fenced", "", waiting_for="")
