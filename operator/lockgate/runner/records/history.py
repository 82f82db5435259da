"""The ``lockgate`` schema in the target database: what was applied, by whom, and what was satisfied last.

``lockgate.history`` gets a row in each revision's own transaction, so it never tells of what was rolled back. It holds
the parents, which give the lineage of revisions that an older image does not know, and the source, so that a revision
can be taken back without the image that brought it. ``lockgate.satisfied`` is the fast path: a digest of everything
that decides what a run would do, with the rows that it left behind. ``lockgate.unverified``, ``lockgate.statements``:
see there.

A role that may not create the schema gets a warning in its reports, and does without.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from lockgate.runner.database.connection import OwnConnection, database_error
from lockgate.runner.database.privileges import MAY_WRITE, may_read
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.records import statements

__all__ = [
    "INSERT",
    "ensure",
    "is_other_source",
    "record",
    "source_of",
]

_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS lockgate.history (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        version_table text NOT NULL,
        revision text NOT NULL,
        parents text NOT NULL,
        direction text NOT NULL,
        message text NOT NULL,
        source text,
        source_sha256 text,
        resource text NOT NULL,
        image text NOT NULL,
        run text NOT NULL,
        pod text NOT NULL,
        role text NOT NULL DEFAULT current_user,
        seconds double precision NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )""",
    """
    CREATE TABLE IF NOT EXISTS lockgate.satisfied (
        digest text PRIMARY KEY,
        version_schema text NOT NULL,
        version_table text NOT NULL,
        version_rows text NOT NULL,
        target text NOT NULL,
        revisions text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )""",
    """
    CREATE TABLE IF NOT EXISTS lockgate.unverified (
        scope text PRIMARY KEY,
        baseline text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )""",
    statements.TABLE,
)

INSERT = (
    "INSERT INTO lockgate.history (version_table, revision, parents, direction, message, source, source_sha256,"
    " resource, image, run, pod, seconds) VALUES (:version_table, :revision, :parents, :direction, :message, :source,"
    " :source_sha256, :resource, :image, :run, :pod, :seconds)"
)

NO_SCHEMA = (
    "No right to create the schema lockgate in this database: no history, no fast path; a database that is ahead"
    " of an older image, or was left in the middle of a revision, is not recognised. Once, as a role that may:"
    " CREATE SCHEMA lockgate AUTHORIZATION {role}"
)
"""``role``: the one that migrates, quoted as SQL needs it."""

OTHER_ROLE = (
    "No history of this run: env.py works as a role, or in a database, without the right to write lockgate.history."
    " Grant it USAGE on the schema lockgate, and SELECT and INSERT on its table history."
)

NOT_KEPT = "no audit trail, no fast path, and a database that is ahead of an older image is refused."

NAMESAKE = (
    "No history and no fast path: the role is called lockgate, and a schema of that name would come first in its"
    " search_path, so that the application's tables would land there. Use a role of another name."
)


def ensure(connection: OwnConnection) -> str:
    """Create the schema where it is missing; return a warning where that is not allowed, else nothing."""
    if not connection.backend.keeps_history:
        return f"No history on {connection.backend.spoken}: {NOT_KEPT}"
    if connection.value(f"SELECT {MAY_WRITE} AND {may_read('unverified')} AND {may_read('statements')}"):
        return ""
    if connection.value("SELECT current_user = 'lockgate'"):
        return NAMESAKE
    is_there = "SELECT to_regnamespace('lockgate') IS NOT NULL"
    try:
        if not connection.value(is_there):  # IF NOT EXISTS asks for the right to create it also where it is there
            connection.rows("CREATE SCHEMA IF NOT EXISTS lockgate")
        for statement in _TABLES:
            connection.rows(statement)
    except database_error():
        # Two who create it at once meet in a unique index of the catalogue: whoever lost finds it made.
        if not connection.value(f"SELECT {MAY_WRITE}"):
            if connection.value(is_there):
                return OTHER_ROLE
            return NO_SCHEMA.format(role=connection.value("SELECT quote_ident(current_user)"))
    return ""


def record(
    configuration: Configuration,
    *,
    version_table: str,
    revision: str,
    parents: tuple[str, ...],
    message: str,
    path: str | Path | None,
    seconds: float,
    direction: str = "upgrade",
    encoding: str = "UTF8",
) -> dict[str, object]:
    """Return the parameters of `INSERT` for a revision that was applied; without a ``path``, was taken back."""
    source = source_of(path) if path else ""
    sha256 = _sha256(source)  # of the file as it is, also where it cannot be stored so
    if encoding != "UTF8":
        # A database in LATIN1 has no arrow: an escape means the same in Python, and costs nobody his revision.
        source, message = (text.encode("ascii", "backslashreplace").decode() for text in (source, message))
    return {
        "version_table": version_table,
        "revision": revision,
        "parents": json.dumps(parents),
        "direction": direction,
        "message": message,
        "source": source if path else None,
        "source_sha256": sha256 if path else None,
        "resource": configuration.resource,
        "image": configuration.image,
        "run": configuration.run,
        "pod": configuration.pod,
        "seconds": seconds,
    }


def source_of(path: str | Path) -> str:
    """Return a revision's source; a NUL cannot be stored, and a file that is gone has none."""
    try:
        return Path(path).read_text("utf-8", errors="replace").replace("\0", "")
    except OSError:
        return ""


def _sha256(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()


def is_other_source(path: str | Path, recorded: str) -> bool:
    """Return whether a revision's file differs from the one that was applied; without a file there is no saying."""
    source = source_of(path)
    return bool(source) and _sha256(source) != recorded
