"""What ``lockgate.history`` knows about the revisions of one version table.

Two projects in one database have version tables of their own, and may number their revisions alike: what one of them
recorded says nothing of the other. A table whose schema was renamed keeps its past: rows of a table of the same name
that exists in no schema any more count where the table's own rows say nothing, as long as all of them agree.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from lockgate.runner.database.connection import OwnConnection
from lockgate.runner.database.privileges import may_read

__all__ = [
    "Related",
    "Stored",
    "applied_heads",
    "lineage",
    "lineage_of",
    "merged",
    "related_tables",
    "sources",
    "still_applied",
    "stored",
    "tables_with",
]

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


class Related(NamedTuple):
    """A version table, and the newest of a project's revisions that was applied to it."""

    schema: str
    table: str
    revision: str
    sha256: str
    """Of the source that was applied; empty where there was none."""


_THERE = (
    " FROM lockgate.history h JOIN pg_catalog.pg_class c ON true JOIN pg_catalog.pg_namespace n"
    " ON n.oid = c.relnamespace AND n.nspname || '.' || c.relname = h.version_table"
)


def related_tables(query: Query, graph: Mapping[str, Iterable[str]]) -> list[Related]:
    """Return the version tables that exist and to which revisions of this graph, with the same parents, were applied.

    Two projects may number their revisions alike: the source of the newest tells them apart.
    """
    if not graph or not query(f"SELECT {may_read('history')}")[0][0]:
        return []
    rows = query(
        "SELECT DISTINCT ON (n.nspname, c.relname) n.nspname, c.relname, h.revision, coalesce(h.source_sha256, '')"
        f"{_THERE} JOIN json_each_text(CAST(:graph AS json)) g ON g.key = h.revision AND g.value = h.parents"
        " WHERE h.direction <> 'downgrade' ORDER BY n.nspname, c.relname, h.id DESC",
        graph=json.dumps({revision: json.dumps(tuple(parents)) for revision, parents in graph.items()}),
    )
    return [Related(*row) for row in rows]


def tables_with(query: Query, revision: str) -> list[tuple[str, str]]:
    """Return the version tables that exist and share a revision with one to which this revision was applied."""
    if not query(f"SELECT {may_read('history')}")[0][0]:
        return []
    rows = query(
        f"SELECT DISTINCT n.nspname, c.relname{_THERE} WHERE h.revision IN (SELECT s.revision FROM lockgate.history s"
        " WHERE s.version_table IN (SELECT w.version_table FROM lockgate.history w WHERE w.revision = :revision))"
        " ORDER BY 1, 2",
        revision=revision,
    )
    return [(schema, table) for schema, table in rows]


def applied_heads(query: Query, schema: str, table: str) -> tuple[str, ...]:
    """Return where a version table is by lockgate.history: what was applied last and not taken back."""
    if not schema or not query(f"SELECT {may_read('history')}")[0][0]:
        return ()
    rows = query(
        "SELECT revision, direction, parents FROM lockgate.history WHERE version_table = :whole ORDER BY id",
        whole=f"{schema}.{table}",
    )
    return still_applied([(revision, direction, tuple(json.loads(parents))) for revision, direction, parents in rows])


def still_applied(rows: Iterable[tuple[str, str, tuple[str, ...]]]) -> tuple[str, ...]:
    """Return the heads of what was applied and not taken back.

    From (revision, direction, parents) of each row, the oldest first.
    """
    applied: dict[str, tuple[str, ...]] = {}
    for revision, direction, parents in rows:
        if direction == "downgrade":
            applied.pop(revision, None)
        else:
            applied[revision] = parents
    below = {parent for parents in applied.values() for parent in parents}
    return tuple(sorted(set(applied) - below))


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
