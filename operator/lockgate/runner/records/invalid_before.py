"""Which indexes were invalid before a statement was first tried, in ``lockgate.index_work``.

`entry.index_builds` says what for. The table is made when it is first needed: few projects ever do.
"""

from __future__ import annotations

import json

from lockgate.runner.database.connection import OwnConnection, database_error

__all__ = ["forget", "recall"]

_TABLE = (
    "CREATE TABLE IF NOT EXISTS lockgate.index_work (statement_sha256 text PRIMARY KEY, invalid_before text NOT NULL,"
    " started_at timestamptz NOT NULL DEFAULT clock_timestamp())"
)


def recall(connection: OwnConnection, statement_sha256: str, now: list[int]) -> list[int]:
    """Return the indexes (their oids) that were invalid before this statement was first tried.

    ``now`` are those that are invalid at this moment: recorded, and returned, where this is the first try; returned too
    where this role has no right to record them.
    """
    try:
        connection.rows(_TABLE)
        connection.rows(
            "INSERT INTO lockgate.index_work (statement_sha256, invalid_before) VALUES (:key, :before)"
            " ON CONFLICT (statement_sha256) DO NOTHING",
            key=statement_sha256,
            before=json.dumps(now),
        )
        recorded = connection.value(
            "SELECT invalid_before FROM lockgate.index_work WHERE statement_sha256 = :key", key=statement_sha256
        )
    except database_error():
        return now
    found: list[int] = json.loads(recorded)
    return found


def forget(connection: OwnConnection, statement_sha256: str) -> None:
    """Forget about a statement that succeeded."""
    try:
        connection.rows("DELETE FROM lockgate.index_work WHERE statement_sha256 = :key", key=statement_sha256)
    except database_error():  # no right to the schema: then nothing was recorded
        return
