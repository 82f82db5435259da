"""``lockgate.statements``: what is committed of a revision that has not ended. Pure: SQL and values.

A revision that commits in the middle gets a row for each statement that is committed by then, in the transaction that
commits it; its last transaction deletes them. So whatever is found there was left by a run that ended in between, by
SIGKILL too. A statement that no transaction can hold (CREATE INDEX CONCURRENTLY) gets its row before it starts, with
the state ``started``, and ``done`` after it.

Neither parameters nor literals are kept, which are values: a salted digest over statement and parameters says whether
another run sends the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from lockgate.runner.sql.values import masked_values, without_values

__all__ = [
    "DONE",
    "FORGET",
    "STARTED",
    "TABLE",
    "TEXT_LIMIT",
    "Kept",
    "Part",
    "digest",
    "forget_one",
    "kept_statements",
    "shortened",
    "upsert",
]

DONE = "done"
STARTED = "started"
TEXT_LIMIT = 2000
"""Characters of a statement that are kept for people; the digest is over all of it."""

TABLE = """
    CREATE TABLE IF NOT EXISTS lockgate.statements (
        version_table text NOT NULL,
        revision text NOT NULL,
        direction text NOT NULL,
        position integer NOT NULL,
        state text NOT NULL,
        statement text NOT NULL,
        salt text NOT NULL,
        digest text NOT NULL,
        row_count bigint NOT NULL,
        returned_rows boolean NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (version_table, revision, direction, position)
    )"""

FORGET = (
    "DELETE FROM lockgate.statements"
    " WHERE version_table = :version_table AND revision = :revision AND direction = :direction"
)


class Part(NamedTuple):
    """A revision, in one direction, of one version table: what recorded statements are a part of."""

    version_table: str
    """As ``schema.table``."""
    revision: str
    direction: str = "upgrade"


class Kept(NamedTuple):
    """A statement of a revision that leaves something behind."""

    position: int
    """Counted from 1, over all such statements of the revision."""
    text: str
    salt: str = ""
    digest: str = ""
    state: str = DONE
    row_count: int = -1
    """As the driver said, because a revision may go by it; -1 where it did not say."""
    returned_rows: bool = False


def digest(salt: str, statement: str, parameters: Any) -> str:
    """Return what tells one statement with its parameters from another."""
    total = hashlib.sha256(f"{salt}\0{statement}\0".encode("utf-8", "backslashreplace"))
    _feed(total, parameters)
    return total.hexdigest()


_PLAIN = frozenset((str, int, float, bool, type(None)))
"""Types of most parameters: they are told from containers without asking four times."""


def _feed(total: Any, value: Any) -> None:
    if type(value) in _PLAIN:
        total.update(f"{value!r},".encode("utf-8", "backslashreplace"))
    elif isinstance(value, (dict, Mapping)):
        for name in value:
            _feed(total, (name, value[name]))
    elif isinstance(value, (list, tuple)):
        total.update(b"(")
        for item in value:
            _feed(total, item)
        total.update(b")")
    elif isinstance(value, (bytes, bytearray, memoryview)):
        total.update(f"{bytes(value)!r},".encode())
    else:
        plain = getattr(value, "adapted", getattr(value, "obj", value))  # wrappers of psycopg2 and psycopg
        total.update(f"{plain!r},".encode("utf-8", "backslashreplace"))


def upsert(part: Part, kept: Iterable[Kept]) -> str:
    """Return SQL that records statements; literals, because each driver spells parameters its own way."""
    values = ", ".join(
        f"({_quoted(part.version_table)}, {_quoted(part.revision)}, {_quoted(part.direction)}, {row.position},"
        f" '{row.state}', {_quoted(masked_values(row.text)[:TEXT_LIMIT])}, '{row.salt}', '{row.digest}',"
        f" {row.row_count},"
        f" {str(row.returned_rows).lower()})"
        for row in kept
    )
    return (
        "INSERT INTO lockgate.statements (version_table, revision, direction, position, state, statement, salt,"
        f" digest, row_count, returned_rows) VALUES {values}"
        " ON CONFLICT (version_table, revision, direction, position) DO UPDATE SET state = excluded.state,"
        " statement = excluded.statement, salt = excluded.salt, digest = excluded.digest,"
        " row_count = excluded.row_count, returned_rows = excluded.returned_rows, recorded_at = clock_timestamp()"
    )


def forget_one(part: Part, position: int) -> str:
    """Return SQL that takes back the row of a statement that failed."""
    return (
        f"DELETE FROM lockgate.statements WHERE version_table = {_quoted(part.version_table)}"
        f" AND revision = {_quoted(part.revision)} AND direction = {_quoted(part.direction)} AND position = {position}"
    )


def kept_statements(query: Callable[[str], list[tuple[Any, ...]]], version_table: str) -> dict[Part, tuple[Kept, ...]]:
    """Read what was left in the middle of revisions of a version table, in order."""
    found: dict[Part, tuple[Kept, ...]] = {}
    for row in query(
        "SELECT version_table, revision, direction, position, statement, salt, digest, state, row_count, returned_rows"
        " FROM lockgate.statements ORDER BY position"
    ):
        if row[0] == version_table:
            part = Part(*row[:3])
            found[part] = (*found.get(part, ()), Kept(*row[3:]))
    return found


def shortened(text: str) -> str:
    """Return a statement as one line of a message, without its literals."""
    line = without_values(text).rstrip(";")
    return line if len(line) <= 120 else f"{line[:117]}..."


def _quoted(text: str) -> str:
    """Quote a literal between dollars, where neither quotes nor backslashes mean anything."""
    tag = f"$s{hashlib.sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}$"
    return f"{tag}{text}{tag}"
