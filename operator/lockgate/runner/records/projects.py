"""``lockgate.projects``: what only env.py knows of a project, as the last successful runs found it.

Which version tables env.py configures, and the revisions of files that cannot be loaded before env.py has set up the
application: the commands that only look do not enter env.py. A later release of a project is known by its first
revisions, which stay as they are; another project in the same database has others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from lockgate.runner.database.connection import OwnConnection
from lockgate.runner.database.privileges import MAY_KEEP_PROJECTS, may_read
from lockgate.runner.records.history import source_of

__all__ = ["TABLE", "Known", "chosen", "identity_of", "known_projects", "record_project"]

TABLE = """
    CREATE UNLOGGED TABLE IF NOT EXISTS lockgate.projects (
        digest text PRIMARY KEY,
        files text NOT NULL,
        identity text NOT NULL,
        target text NOT NULL,
        heads text NOT NULL,
        version_tables text NOT NULL,
        graph text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )"""


class Known(NamedTuple):
    """What a run found."""

    digest: str
    """Of files, configuration, environment and arguments."""
    files: str
    """Digest of the script folders alone."""
    identity: str
    """See `identity_of`."""
    target: str
    """As it was named: ``heads``, or a revision."""
    heads: tuple[str, ...]
    """The revisions which that meant."""
    version_tables: tuple[tuple[str, str], ...]
    """Schema and name of each; without a schema where the role's search_path finds it."""
    graph: dict[str, tuple[str, ...]]
    """Revisions and their parents; of these very files only."""


def identity_of(first: Iterable[tuple[str, str]]) -> str:
    """Return what stays the same in all releases, from the first revisions and their paths; nothing without any."""
    sources = [(revision, source_of(path)) for revision, path in sorted(first)]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest() if sources else ""


def known_projects(connection: OwnConnection, digest: str, files: str, identity: str) -> list[Known]:
    """Return what runs recorded of this project, as far as it counts for these files; the newest first."""
    if not connection.backend.keeps_history:
        return []
    # A standby has no rows of an unlogged table, and takes the question for an error.
    if not connection.value(f"SELECT {may_read('projects')} AND NOT pg_is_in_recovery()"):
        return []
    rows = connection.rows(
        "SELECT digest, files, identity, target, heads, version_tables,"
        " CASE WHEN files = :files THEN graph ELSE '{}' END FROM lockgate.projects"
        " WHERE files = :files OR (identity <> '' AND identity = :identity) ORDER BY recorded_at DESC",
        files=files,
        identity=identity,
    )
    return chosen([_known(row) for row in rows], digest, files)


def chosen(found: list[Known], digest: str, files: str) -> list[Known]:
    """Choose, the newest first: what had the same input; else the same files; else the release before."""
    newest = found[0].files if found else ""
    exact = [one for one in found if one.digest == digest]
    same = [one for one in found if one.files == files]
    return exact or same or [one for one in found if one.files == newest]


def record_project(connection: OwnConnection, known: Known) -> None:
    """Record what this run found, where the role may, and forget the oldest of such records."""
    if not connection.backend.keeps_history or not connection.value(f"SELECT {MAY_KEEP_PROJECTS}"):
        return
    connection.rows(
        "INSERT INTO lockgate.projects (digest, files, identity, target, heads, version_tables, graph)"
        " VALUES (:digest, :files, :identity, :target, :heads, :version_tables, :graph)"
        " ON CONFLICT (digest) DO UPDATE SET heads = EXCLUDED.heads, version_tables = EXCLUDED.version_tables,"
        " graph = EXCLUDED.graph, recorded_at = clock_timestamp()",
        digest=known.digest,
        files=known.files,
        identity=known.identity,
        target=known.target,
        heads=json.dumps(known.heads),
        version_tables=json.dumps(known.version_tables),
        graph=json.dumps(known.graph),
    )
    connection.rows(
        "DELETE FROM lockgate.projects WHERE digest IN (SELECT digest FROM lockgate.projects"
        " ORDER BY recorded_at DESC OFFSET 50)"  # a number of ours
    )


def _known(row: tuple[Any, ...]) -> Known:
    digest, files, identity, target, heads, tables, graph = row
    return Known(
        digest,
        files,
        identity,
        target,
        tuple(json.loads(heads)),
        tuple((schema, table) for schema, table in json.loads(tables)),
        {revision: tuple(parents) for revision, parents in json.loads(graph).items()},
    )
