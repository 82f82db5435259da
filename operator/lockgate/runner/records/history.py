"""``lockgate.history``: what was applied to a database, when, by whom, and from which source.

A revision gets its row in its own transaction, so the history never tells of what was rolled back. A row holds the
parents, which give the lineage of revisions that an older image does not know, and the source, so that a revision can
be taken back without the image that brought it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from lockgate.runner.invocation.configuration import Configuration

__all__ = ["INSERT", "TABLE", "is_other_source", "record", "source_of"]

TABLE = """
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
    )"""

INSERT = (
    "INSERT INTO lockgate.history (version_table, revision, parents, direction, message, source, source_sha256,"
    " resource, image, run, pod, seconds) VALUES (:version_table, :revision, :parents, :direction, :message, :source,"
    " :source_sha256, :resource, :image, :run, :pod, :seconds)"
)


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
        with open(path, encoding="utf-8", errors="replace") as file:  # pathlib takes three times as long
            return file.read().replace("\0", "")
    except OSError:
        return ""


def _sha256(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()


def is_other_source(path: str | Path, recorded: str) -> bool:
    """Return whether a revision's file differs from the one that was applied; without a file there is no saying."""
    source = source_of(path)
    return bool(source) and _sha256(source) != recorded
