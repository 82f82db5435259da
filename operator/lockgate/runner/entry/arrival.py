"""The moment when env.py hands its connection to Alembic: facts about it, the settings, the fence.

No statement of Lockgate's may stay in an open transaction here: Alembic would take it for one of env.py's and commit
nothing. So a connection that arrives outside a transaction leaves outside one; one that arrives inside stays inside.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine

from lockgate.errors import DatabaseBusy, TransactionPooler
from lockgate.runner.database.backends import backend_of
from lockgate.runner.database.backends.backend import Ask, Backend, Facts, Key
from lockgate.runner.database.dbapi import dbapi_of, once
from lockgate.runner.database.engine_session import reported_pid
from lockgate.runner.database.lock import Holder, acquire
from lockgate.runner.database.prepared import unprepared
from lockgate.runner.database.session_settings import Settings
from lockgate.runner.durations import spoken
from lockgate.runner.output.progress import Narrator
from lockgate.runner.records import lineage

__all__ = ["Arrival", "arrive", "asking", "in_own_transaction", "keep_settings", "translated_schema"]


@dataclass(frozen=True)
class Arrival:
    """What is known about a connection and the version table that env.py configured on it."""

    fingerprint: str
    schema: str
    table: str
    backend: Backend
    fence: Key
    in_transaction: bool
    """It arrived inside a transaction of env.py's, which Alembic leaves to env.py."""
    writes_history: bool
    keeps_statements: bool
    encoding: str
    """Of the database, or of env.py's session where that is another than UTF-8."""
    role: str
    """As which env.py's session works, where the database has such roles."""
    name: str
    """The version table, as env.py's session finds it; quoted."""
    engine: Engine
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
            backend_of(connection.dialect.name).prepare(asking(connection), settings)


def arrive(
    connection: Connection,
    *,
    schema: str | None,
    table: str,
    settings: Settings,
    fence_wait: float,
    found_held: Callable[[str, int], None],
    narrator: Narrator,
) -> Arrival:
    """Examine the connection, set it, and take the fence on it; LockBusy after ``fence_wait`` seconds.

    ``found_held`` is told the database (its fingerprint) and the session that has the fence, whenever it is not free.
    """
    in_transaction = connection.in_transaction()
    schema = translated_schema(connection, schema)
    backend, ask = backend_of(connection.dialect.name), asking(connection)
    with in_own_transaction(connection):
        facts = backend.facts(ask, schema, table)
        parents, sources = _recorded(ask, facts.schema, table) if facts.writes_history else ({}, {})
        backend.prepare(ask, settings)
    if facts.objection is not None:
        raise facts.objection
    _refuse_pooler(connection, facts)
    arrival = Arrival(
        fingerprint=facts.fingerprint,
        schema=facts.schema,
        table=table,
        backend=backend,
        fence=backend.fence_key(facts, table),
        in_transaction=in_transaction,
        writes_history=facts.writes_history,
        keeps_statements=facts.keeps_statements,
        encoding=facts.encoding,
        role=facts.role,
        name=facts.name,
        engine=connection.engine,
        lineage=parents,
        sources=sources,
    )
    _take_fence(connection, arrival, fence_wait, found_held, narrator)
    return arrival


def _refuse_pooler(connection: Connection, facts: Facts) -> None:
    """Refuse where the session is not the one that was opened, nor the one that the driver was told of."""
    opened = connection.info.get("lockgate_session", facts.session)
    if facts.session not in (opened, reported_pid(connection)):
        raise TransactionPooler(
            "env.py connects through a transaction pooler, where a session lock protects nothing.",
            advice="Give it a URL that leads to the server itself (on Kubernetes: spec.database.directUrlFrom).",
        )


def asking(connection: Connection) -> Ask:
    """Return what runs a statement on a connection of env.py's, in the transaction in which that is."""

    def ask(sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        dbapi = dbapi_of(connection)
        with unprepared(dbapi):
            result = connection.execute(text(once(dbapi, sql)), parameters)
            return [tuple(row) for row in result] if result.returns_rows else []

    return ask


def translated_schema(connection: Connection, schema: str | None) -> str | None:
    """Return the schema into which SQLAlchemy's ``schema_translate_map`` of env.py's connection puts the table."""
    translations = connection.get_execution_options().get("schema_translate_map") or {}
    found: str | None = translations.get(schema, schema)
    return found


def _recorded(ask: Ask, schema: str, table: str) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    return lineage.lineage(ask, schema, table), lineage.sources(ask, schema, table)


def _take_fence(
    connection: Connection,
    arrival: Arrival,
    wait: float,
    found_held: Callable[[str, int], None],
    narrator: Narrator,
) -> None:
    held: set[Key] = connection.info.setdefault("lockgate_fences", set())
    if arrival.fence in held:
        return

    def ask(sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        with in_own_transaction(connection):
            return asking(connection)(sql, **parameters)

    def waiting(holder: Holder | None, waited: float) -> None:
        if holder is not None:
            found_held(arrival.fingerprint, holder.pid)
        if arrival.in_transaction:
            # Polling inside a transaction would stop the other one's CREATE INDEX CONCURRENTLY: end it, come again.
            raise DatabaseBusy(f"Another session migrates {arrival.table}: {holder or 'fence held'}.")
        sentence = f"waiting for the fence: {holder} ({spoken(waited)})"
        if narrator.progress.waiting_for != str(holder or ""):
            narrator.tell("waiting", sentence, waiting_for=str(holder or ""))

    lock = arrival.backend.fence(ask, arrival.fence)
    acquire(lock, wait=wait, clock=time.monotonic, sleep=time.sleep, uniform=random.uniform, waiting=waiting)
    held.add(arrival.fence)
    narrator.tell("fenced", "", waiting_for="")
