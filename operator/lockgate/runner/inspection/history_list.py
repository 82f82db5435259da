"""``lockgate history``: the rows of lockgate.history, the newest first. Needs a URL, and nothing of the image."""

from __future__ import annotations

import os

from lockgate.runner.database.connection import OwnConnection
from lockgate.runner.database.privileges import may_read
from lockgate.runner.durations import spoken
from lockgate.runner.inspection.answer import Answer, answered
from lockgate.runner.inspection.position import opened
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.invocation.project_file import working_directory
from lockgate.runner.output.progress import Narrator
from lockgate.runner.revisions.project import load_project
from lockgate.runner.wording import counted

__all__ = ["list_history"]

_COLUMNS = (
    *("revision", "direction", "message", "version_table", "seconds"),
    *("role", "resource", "image", "run", "pod", "source_sha256"),
)


def list_history(configuration: Configuration, narrator: Narrator) -> Answer:
    """Read the newest rows; their source is left out, as it can be long."""
    project = None if configuration.url else load_project(configuration, working_directory(), os.environ)
    with opened(project, configuration, narrator, "history") as (_, connection):
        if not connection.backend.keeps_history:
            message = f"No history is kept on {connection.backend.spoken}: only the version table says where it is."
            return Answer(answered("NoHistory", message), {"history": []})
        if not connection.value(f"SELECT {may_read('history')}"):
            message = "There is no lockgate.history that this role may read: no run has recorded anything here."
            return Answer(answered("NoHistory", message), {"history": []})
        rows = _newest(connection, configuration.limit)
    message = (
        f"{counted(len(rows), 'row')} of lockgate.history, the newest first." if rows else "lockgate.history is empty."
    )
    return Answer(answered("History", message), {"history": rows}, tuple(_line(row) for row in rows))


def _newest(connection: OwnConnection, limit: int) -> list[dict[str, object]]:
    found = connection.rows(
        "SELECT to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
        f" {', '.join(_COLUMNS)} FROM lockgate.history ORDER BY id DESC LIMIT {int(limit)}"
    )
    return [dict(zip(("applied_at", *_COLUMNS), row, strict=True)) for row in found]


def _line(row: dict[str, object]) -> str:
    seconds = row["seconds"]
    took = spoken(seconds) if isinstance(seconds, float) else ""
    who = " ".join(str(row[name]) for name in ("role", "resource", "pod", "image") if row[name])
    direction = "" if row["direction"] == "upgrade" else f" ({row['direction']})"
    return f"  {row['applied_at']}  {row['revision']}{direction} {row['message']} ({took}) by {who}".rstrip()
