"""The fast path: what a run with the same input left behind, in ``lockgate.satisfied``."""

from __future__ import annotations

import json
from typing import NamedTuple

from lockgate.runner.database.connection import OwnConnection
from lockgate.runner.database.privileges import may_read

__all__ = ["IS_CURRENT", "TABLE", "UPGRADE", "Satisfied", "forget", "recall", "remember"]

TABLE = """
    CREATE TABLE IF NOT EXISTS lockgate.satisfied (
        digest text PRIMARY KEY,
        version_schema text NOT NULL,
        version_table text NOT NULL,
        version_rows text NOT NULL,
        target text NOT NULL,
        revisions text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        inputs text
    )"""

UPGRADE = "ALTER TABLE lockgate.satisfied ADD COLUMN IF NOT EXISTS inputs text"
"""SQL: what earlier versions recorded knows nothing of env.py's inputs, and is not believed."""

IS_CURRENT = (
    "EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'lockgate' AND c.relname = 'satisfied' AND a.attname = 'inputs')"
)
"""SQL: whether the table has that column."""


class Satisfied(NamedTuple):
    """What a run with this digest left behind."""

    schema: str
    table: str
    inputs: str
    """What else env.py went by; see `lockgate.runner.revisions.inputs`."""
    rows: tuple[str, ...]
    target: tuple[str, ...]
    revisions: tuple[str, ...]


def recall(connection: OwnConnection, digest: str) -> Satisfied | None:
    """Return what a run with this digest left behind, if the version table still has exactly those rows."""
    if not connection.backend.keeps_history or not connection.value(f"SELECT {may_read('satisfied')}"):
        return None
    found = connection.rows(
        # The column may be missing where another role made the table: asking for it would be an error.
        "SELECT version_schema, version_table, to_jsonb(s) ->> 'inputs', version_rows, target, revisions"
        " FROM lockgate.satisfied s WHERE digest = :digest",
        digest=digest,
    )
    if not found or not found[0][2]:
        return None
    schema, table, inputs, *lists = found[0]
    satisfied = Satisfied(schema, table, inputs, *(tuple(json.loads(item)) for item in lists))
    return satisfied if connection.backend.rows_of(connection, schema, table) == tuple(sorted(satisfied.rows)) else None


def forget(connection: OwnConnection) -> None:
    """Forget everything: the rows of a version table prove nothing while revisions are taken back."""
    if connection.backend.keeps_history and connection.value(f"SELECT {may_read('satisfied')}"):
        connection.rows("DELETE FROM lockgate.satisfied")


def remember(connection: OwnConnection, digest: str, satisfied: Satisfied) -> None:
    """Record what this run left behind, and forget the oldest of such records."""
    connection.rows(
        "INSERT INTO lockgate.satisfied (digest, version_schema, version_table, version_rows, target, revisions,"
        " inputs) VALUES (:digest, :schema, :table, :rows, :target, :revisions, :inputs)"
        " ON CONFLICT (digest) DO UPDATE SET version_schema = EXCLUDED.version_schema,"
        " version_table = EXCLUDED.version_table, version_rows = EXCLUDED.version_rows,"
        " target = EXCLUDED.target, revisions = EXCLUDED.revisions, inputs = EXCLUDED.inputs,"
        " recorded_at = clock_timestamp()",
        digest=digest,
        schema=satisfied.schema,
        table=satisfied.table,
        rows=json.dumps(satisfied.rows),
        target=json.dumps(satisfied.target),
        revisions=json.dumps(satisfied.revisions),
        inputs=satisfied.inputs,
    )
    connection.rows(
        "DELETE FROM lockgate.satisfied WHERE digest IN (SELECT digest FROM lockgate.satisfied"
        " ORDER BY recorded_at DESC OFFSET 50)"  # a number of ours
    )
