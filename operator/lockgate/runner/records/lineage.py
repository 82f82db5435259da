"""What ``lockgate.history`` knows about the revisions of one version table.

Two projects in one database have version tables of their own, and may number their revisions alike: what one of them
recorded says nothing of the other. A table whose schema was renamed keeps its past: rows of a table of the same name
that exists in no schema any more count where the table's own rows say nothing, as long as all of them agree.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from lockgate.runner.database.connection import OwnConnection
from lockgate.runner.database.privileges import may_read

__all__ = ["Stored", "lineage", "lineage_of", "merged", "sources", "stored"]

Query = Callable[..., "list[tuple[Any, ...]]"]
"""Runs a statement with named parameters."""

_ROWS = (
    " FROM lockgate.history h WHERE h.direction <> 'downgrade' AND (h.version_table = CAST(:whole AS text)"
    " OR (right(h.version_table, length(CAST(:tail AS text))) = CAST(:tail AS text) AND NOT EXISTS (SELECT 1"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relname = CAST(:name AS name) AND n.nspname || '.' || c.relname = h.version_table)))"
)


def lineage(query: Query, schema: str, table: str) -> dict[str, tuple[str, ...]]:
    """Return the parents of every revision that was ever applied to this version table, as its image knew them."""
    found = _recorded(query, "h.parents", schema, table)
    return {revision: tuple(json.loads(parents)) for revision, parents in found.items()}


def lineage_of(connection: OwnConnection, schema: str, table: str) -> dict[str, tuple[str, ...]]:
    """Return `lineage` over a connection of Lockgate's own; empty where the database keeps no history."""
    return lineage(connection.rows, schema, table) if connection.backend.keeps_history else {}


def sources(query: Query, schema: str, table: str) -> dict[str, str]:
    """Return the SHA-256 of the source of every revision of this version table, as it was applied the last time."""
    found = _recorded(query, "CASE WHEN h.source <> '' THEN h.source_sha256 END", schema, table)
    return {revision: sha for revision, sha in found.items() if sha}


class Stored(NamedTuple):
    """A revision as it was applied the last time; ``source`` is empty where it was not kept."""

    parents: tuple[str, ...]
    message: str
    source: str
    sha256: str


def stored(query: Query, schema: str, table: str) -> dict[str, Stored]:
    """Return every revision that was ever applied to this version table."""
    columns = "CAST(json_build_array(h.parents, h.message, h.source, h.source_sha256) AS text)"
    found = {name: json.loads(text) for name, text in _recorded(query, columns, schema, table).items()}
    return {
        name: Stored(tuple(json.loads(parents)), message, source or "", sha256 or "")
        for name, (parents, message, source, sha256) in found.items()
    }


def _recorded(query: Query, column: str, schema: str, table: str) -> dict[str, Any]:
    if not query(f"SELECT {may_read('history')}")[0][0]:
        return {}
    rows = query(
        f"SELECT h.version_table = CAST(:whole AS text), h.revision, {column}{_ROWS} ORDER BY h.id",
        whole=f"{schema}.{table}",
        tail=f".{table}",
        name=table,
    )
    return merged([(bool(own), revision, value) for own, revision, value in rows])


def merged(rows: list[tuple[bool, str, Any]]) -> dict[str, Any]:
    """Return the newest value of each revision, from (is of this very table, revision, value), the oldest first.

    A value of a table that is gone counts where this one has none, and no other table that is gone says otherwise.
    """
    own = {revision: value for is_own, revision, value in rows if is_own}
    lost: dict[str, set[Any]] = {}
    for is_own, revision, value in rows:
        if not is_own:
            lost.setdefault(revision, set()).add(value)
    return {**{revision: values.pop() for revision, values in lost.items() if len(values) == 1}, **own}
