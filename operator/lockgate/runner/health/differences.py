"""Puts what Alembic's autogenerate found into sentences. Pure.

The forms are those that ``alembic.autogenerate.compare_metadata`` documents, and those of extensions as they come. No
default and no comment is quoted: both are free text, and a name says enough.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lockgate.runner.sql.values import without_values

__all__ = ["Difference", "describe"]

_SIDES = {"add": "only in the models", "remove": "only in the database"}
_KINDS = {"fk": "foreign key", "constraint": "constraint", "index": "index", "table_comment": "comment"}


class Difference(NamedTuple):
    """One difference; schema and table are empty where it is about neither."""

    sentence: str
    table: str = ""
    schema: str = ""


def describe(diff: Any) -> Difference:
    """Return the sentence for one entry of ``as_diffs()``."""
    if isinstance(diff, list):
        return _modified(diff)
    action, *rest = diff
    side, _, what = str(action).partition("_")
    if side not in _SIDES or not rest:
        return Difference(str(action))
    if what == "column":
        schema, table, column = rest
        return Difference(f"column {_name(schema, table)}.{column.name} {_SIDES[side]}", str(table), schema or "")
    item = rest[0]
    if what in ("table", "table_comment"):
        words = f"table {_name(item.schema, item.name)}" + (" comment" if what == "table_comment" else "")
        return Difference(f"{words} {_SIDES[side]}", str(item.name), item.schema or "")
    table = getattr(item, "table", None)
    if table is None:
        return Difference(f"{what.replace('_', ' ')} {_called(item)[:200]} {_SIDES[side]}")
    named = f" {item.name}" if item.name else ""
    sentence = f"{_KINDS.get(what, what)}{named} of {_name(table.schema, table.name)} {_SIDES[side]}"
    return Difference(sentence, str(table.name), table.schema or "")


def _called(item: Any) -> str:
    """Return the name of a thing of an extension; what has none may show its SQL."""
    return str(getattr(item, "name", None) or without_values(str(item)))


def _modified(changes: list[Any]) -> Difference:
    """Describe what differs in one column: type, nullability, default, comment."""
    schema, table, column = changes[0][1:4]
    aspects = [_aspect(str(change[0]).partition("_")[2], *change[-2:]) for change in changes]
    return Difference(f"column {_name(schema, table)}.{column} differs in {' and '.join(aspects)}", table, schema or "")


def _aspect(what: str, database: Any, models: Any) -> str:
    return f"{what} (database {database}, models {models})" if what in ("type", "nullable") else what


def _name(schema: str | None, table: str) -> str:
    return f"{schema}.{table}" if schema else str(table)
