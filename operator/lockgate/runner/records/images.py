"""``lockgate.images``: which migration images led to which revisions, also where they had nothing to apply.

A resource that is made anew knows only its current image, and pods of older releases are to start all the same: the
database remembers what led to it. Runs of an earlier Lockgate left only ``lockgate.history``, which knows the images
that applied something.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence, Set
from typing import NamedTuple

from lockgate.report import ImageTarget
from lockgate.runner.database.connection import OwnConnection
from lockgate.runner.database.privileges import MAY_CREATE, MAY_KEEP_IMAGES, may_read

__all__ = ["TABLE", "Event", "contained", "count_tables", "record", "replayed"]

TABLE = """
    CREATE TABLE IF NOT EXISTS lockgate.images (
        image text NOT NULL,
        scope text NOT NULL,
        version_tables text NOT NULL,
        table_count integer NOT NULL,
        target text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (image, scope)
    )"""

KEPT = 200
"""Images that are remembered."""
TOLD = 100
"""Images that a report names: as many as the operator keeps."""
NAMED = 20
"""Version tables that are remembered of a run: enough to tell two projects in one database apart."""


class Event(NamedTuple):
    """A row of ``lockgate.history``."""

    image: str
    revision: str
    parents: tuple[str, ...]
    is_downgrade: bool


def record(connection: OwnConnection, image: str, tables: Sequence[str], target: Sequence[str]) -> None:
    """Record that ``image`` has led these version tables to its target; writes nothing where that is known."""
    if not connection.backend.keeps_history:
        return
    if not connection.value(f"SELECT {MAY_KEEP_IMAGES}"):
        if connection.value(f"SELECT {may_read('images')} OR NOT {MAY_CREATE}"):
            return
        connection.rows(TABLE)
    scope, wanted = _scope(tables), json.dumps(sorted(target))
    known = connection.rows(
        "SELECT target FROM lockgate.images WHERE image = :image AND scope = :scope", image=image, scope=scope
    )
    if known and known[0][0] == wanted:
        return
    connection.rows(
        "INSERT INTO lockgate.images (image, scope, version_tables, table_count, target)"
        " VALUES (:image, :scope, :tables, :count, :target) ON CONFLICT (image, scope) DO UPDATE SET"
        " target = EXCLUDED.target, recorded_at = clock_timestamp()",
        image=image,
        scope=scope,
        tables=json.dumps(sorted(tables)[:NAMED]),
        count=len(tables),
        target=wanted,
    )
    connection.rows(
        "DELETE FROM lockgate.images WHERE (image, scope) IN (SELECT image, scope FROM lockgate.images"
        f" ORDER BY recorded_at DESC OFFSET {KEPT})"
    )


def contained(
    connection: OwnConnection, tables: Iterable[str], revisions: Set[str], *, without: str
) -> tuple[ImageTarget, ...]:
    """Return the images whose target is among ``revisions``, newest first, except the one that runs now."""
    names = set(tables)
    recorded = {image: target for image, target, where in _recorded(connection) if names & set(where)}
    found = [ImageTarget(image, target) for image, target in recorded.items() if set(target) <= revisions]
    if _knows_more(connection, recorded):
        found += [one for one in replayed(_history(connection, names), revisions) if one.image not in recorded]
    return tuple(one for one in found if one.image != without)[:TOLD]


def count_tables(connection: OwnConnection) -> int | None:
    """Return how many version tables a recorded run had at most: 0 in a new database, None where that is not known."""
    if not connection.backend.keeps_history:
        return None
    if connection.value(f"SELECT {may_read('images')}"):
        most = connection.value("SELECT max(table_count) FROM lockgate.images")
        if most is not None:
            return int(most)
    if not connection.value(f"SELECT {may_read('history')}"):
        return None
    return None if connection.value("SELECT EXISTS (SELECT 1 FROM lockgate.history)") else 0


def replayed(events: Sequence[Event], revisions: Set[str]) -> tuple[ImageTarget, ...]:
    """Return from history, oldest event first, which images led to what is contained now; newest first. Pure.

    All that an image applied has to be there, and nothing that was there then may have been taken back since.
    """
    last: dict[str, int] = {}
    applied: dict[str, dict[str, tuple[str, ...]]] = {}
    since: dict[str, int] = {}
    gone: list[tuple[int, int]] = []
    for number, event in enumerate(events):
        if not event.is_downgrade:
            since[event.revision] = number
            applied.setdefault(event.image, {})[event.revision] = event.parents
            last[event.image] = number
        elif event.revision in since and event.revision not in revisions:
            gone.append((since[event.revision], number))
    return tuple(
        ImageTarget(image, tuple(sorted(applied[image].keys() - _parents(applied[image].values()))))
        for image in sorted(last, key=last.__getitem__, reverse=True)
        if image and applied[image].keys() <= revisions
        if not any(began <= last[image] < ended for began, ended in gone)
    )


def _parents(groups: Iterable[tuple[str, ...]]) -> set[str]:
    return {parent for parents in groups for parent in parents}


def _scope(tables: Iterable[str]) -> str:
    return hashlib.sha256(json.dumps(sorted(tables)).encode()).hexdigest()[:16]


def _recorded(connection: OwnConnection) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    if not connection.backend.keeps_history or not connection.value(f"SELECT {may_read('images')}"):
        return []
    rows = connection.rows("SELECT image, target, version_tables FROM lockgate.images ORDER BY recorded_at DESC")
    return [(image, tuple(json.loads(target)), tuple(json.loads(tables))) for image, target, tables in rows]


def _knows_more(connection: OwnConnection, recorded: Collection[str]) -> bool:
    """Return whether history names other images than these: mostly not, and then it need not be read."""
    if not connection.backend.keeps_history or not connection.value(f"SELECT {may_read('history')}"):
        return False
    rows = connection.rows("SELECT DISTINCT image FROM lockgate.history")
    return any(image and image not in recorded for (image,) in rows)


def _history(connection: OwnConnection, tables: Set[str]) -> list[Event]:
    rows = connection.rows(
        "SELECT version_table, image, revision, parents, direction FROM lockgate.history ORDER BY id"
    )
    return [
        Event(image, revision, tuple(json.loads(parents)), direction == "downgrade")
        for table, image, revision, parents, direction in rows
        if table in tables
    ]
