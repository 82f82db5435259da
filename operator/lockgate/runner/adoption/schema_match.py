"""Whether a database is the schema of a revision, by its tables and their columns. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from lockgate.errors import BaselineMismatch
from lockgate.runner.adoption.inventory import Inventory, Name
from lockgate.runner.wording import counted

__all__ = ["Comparison", "Existing", "compare_tables", "mismatch", "named_tables"]

LISTED = 10


class Existing(NamedTuple):
    """A table that is there."""

    schema: str
    table: str
    visible: bool
    """Found by its name alone, in the search_path of env.py's session."""
    columns: frozenset[str] = frozenset()


class Comparison(NamedTuple):
    """What a revision has, against what is there."""

    wanted: int
    """Tables of the revision."""
    missing: tuple[str, ...] = ()
    """Tables that are not there."""
    lacking: tuple[str, ...] = ()
    """Columns that are not there, of tables that are."""

    @property
    def is_empty(self) -> bool:
        """Not one of the tables is there."""
        return len(self.missing) == self.wanted

    @property
    def is_complete(self) -> bool:
        """All is there, and more may be."""
        return not self.missing and not self.lacking


def compare_tables(wanted: dict[Name, set[str] | None], existing: Collection[Existing]) -> Comparison:
    """Look for each table; a name without a schema means the one that the search_path finds."""
    missing, lacking = [], []
    for (schema, table), columns in sorted(wanted.items(), key=lambda item: item[0]):
        found = [
            each for each in existing if each.table == table and (each.schema == schema if schema else each.visible)
        ]
        if not found:
            missing.append(_spoken((schema, table)))
        else:
            lacking += [f"{_spoken((schema, table))}.{name}" for name in sorted((columns or set()) - found[0].columns)]
    return Comparison(len(wanted), tuple(missing), tuple(lacking))


def named_tables(names: Iterable[str]) -> dict[Name, set[str] | None]:
    """Return the tables that somebody named, each as ``[schema.]table``."""
    inventory = Inventory()
    for name in names:
        schema, _, table = name.rpartition(".")
        inventory.tables[schema, table] = None
    return inventory.tables


def mismatch(revisions: Iterable[str], comparison: Comparison) -> BaselineMismatch:
    """Return why the database is not taken for these revisions."""
    parts = []
    if comparison.missing:
        parts.append(
            f"{len(comparison.missing)} of its {counted(comparison.wanted, 'table')} missing:"
            f" {_some(comparison.missing)}"
        )
    if comparison.lacking:
        parts.append(f"columns missing: {_some(comparison.lacking)}")
    return BaselineMismatch(
        f"The database is not at {', '.join(revisions)}: {'; '.join(parts)}. Nothing was stamped.",
        advice="Name the revision whose tables these are, or make what is missing.",
    )


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _spoken(name: Name) -> str:
    return ".".join(part for part in name if part)
