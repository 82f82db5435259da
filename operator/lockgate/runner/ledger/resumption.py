"""Whether a revision that another run left in the middle can be continued, and how each of its statements is. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lockgate.masking import MASK
from lockgate.runner.database.sql_text import NAME, literal
from lockgate.runner.ledger.committed import bare, is_repeatable
from lockgate.runner.ledger.index_work import index_work, valid_index
from lockgate.runner.records.statements import STARTED, Kept, digest, shortened

__all__ = ["fails_whole", "fits_transaction", "instead", "is_harmless", "is_undone_unseen", "obstacle", "proof", "same"]

_DROPPED = re.compile(
    rf"DROP\s+INDEX\s+CONCURRENTLY\s+(?!IF\s)(?P<name>{NAME}(?:\s*\.\s*{NAME})?)\s*(?:RESTRICT\s*)?$", re.IGNORECASE
)
_ENUM = re.compile(
    rf"ALTER\s+TYPE\s+(?P<name>{NAME}(?:\s*\.\s*{NAME})?)\s+ADD\s+VALUE\s+(?P<value>'(?:[^']|'')*')", re.IGNORECASE
)
_HELD = re.compile(
    r"(?:INSERT|UPDATE|DELETE|MERGE|WITH|SELECT|DO|TRUNCATE|COMMENT|GRANT|REVOKE|CREATE|ALTER|DROP|SECURITY)\b"
    r"(?!\s+(?:DATABASE|TABLESPACE|SUBSCRIPTION|SYSTEM)\b)"
    r"(?!.*(?:CONCURRENTLY|\b(?:COMMIT|ROLLBACK|CALL|TIMESCALEDB\.CONTINUOUS))\b)",
    re.IGNORECASE | re.DOTALL,
)
_MAKES_STATEMENTS = re.compile(r"(?:DO|CALL|SELECT|WITH)\b", re.IGNORECASE)
"""Statements that may execute others, of which the words are literals."""
_IN_PARTS = re.compile(r"(?:CALL|DO|CLUSTER|REINDEX)\b", re.IGNORECASE)
"""Statements that may commit a part of what they do."""


def fits_transaction(statement: str) -> bool:
    """Return whether a statement of an autocommit block may run in a transaction, together with its record.

    Not so what PostgreSQL refuses there, and what may commit by itself. Doubt means no.
    """
    return bool(_HELD.match(bare(statement)))


def fails_whole(statement: str) -> bool:
    """Return whether nothing of a statement stays when the server says that it failed, or only what is cleared away."""
    text = bare(statement)
    in_parts = _IN_PARTS.match(text) or re.search(r"\bCONCURRENTLY\b", text, re.IGNORECASE) or ";" in text
    return is_harmless(statement) or not in_parts


def proof(statement: str) -> str | None:
    """Return SQL that says whether the effect of a statement that no transaction can hold is there; None: no way."""
    text = bare(statement)
    dropped, enum = _DROPPED.match(text), _ENUM.match(text)
    if dropped:
        return f"SELECT to_regclass({literal(dropped['name'])}) IS NULL"
    if enum and ";" not in text:
        return (
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_enum e"
            f" WHERE e.enumtypid = to_regtype({literal(enum['name'])}) AND e.enumlabel = {enum['value']})"
        )
    return valid_index(statement) if ";" not in text else None


def is_harmless(statement: str) -> bool:
    """Return whether a revision may be continued behind this statement without anybody having asked for it.

    It can be done again, or the catalogue says whether it was done.
    """
    return is_repeatable(statement) or proof(statement) is not None


def obstacle(kept: Iterable[Kept]) -> str:
    """Return why the revision cannot be continued, or nothing."""
    for row in kept:
        if row.state == STARTED and not is_harmless(row.text):
            return f"Nobody can tell whether this one was done: {shortened(row.text)}."
        if row.returned_rows:
            return (
                f"This one returned rows, or came after a query; the revision may go by those: {shortened(row.text)}."
            )
    return ""


def is_undone_unseen(row: Kept, kept: Iterable[Kept]) -> bool:
    """Return whether only the catalogue says if the effect of a statement is still there.

    Somebody may have dropped an index that a failed revision had built, to begin again. Where another statement of the
    revision names it too, that one may have renamed or dropped it, and the record counts.
    """
    created = index_work(row.text)
    if created is None or not created.exact:
        return False
    return not any(_may_name(other.text, created.name) for other in kept if other.position != row.position)


def _may_name(statement: str, name: str) -> bool:
    """Return whether a statement names this; of what it puts together itself, the literals are not kept."""
    return name.lower() in statement.lower() or (MASK in statement and bool(_MAKES_STATEMENTS.match(bare(statement))))


def same(row: Kept, statement: str, parameters: object) -> bool:
    """Return whether a revision sends, at its place, the statement that was recorded there."""
    return row.digest == digest(row.salt, statement, parameters)


def instead(row: Kept) -> str:
    """Return what is sent for a statement that is committed: it does nothing, to as many rows as that one did."""
    return f"SELECT FROM generate_series(1, {max(row.row_count, 0)})"
