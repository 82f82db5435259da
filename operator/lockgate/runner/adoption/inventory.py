"""The tables and columns that a sequence of schema operations leaves behind. Pure.

It follows Alembic's operations, and SQL texts that make, rename and drop tables and columns. What it cannot follow it
names as a doubt, and never guesses.
"""

from __future__ import annotations

from typing import Any

from alembic.ddl.base import AddColumn, ColumnName, DropColumn, RenameTable
from sqlalchemy import schema
from sqlalchemy.sql.elements import TextClause

from lockgate.runner.adoption.table_statements import Change, changes_of

__all__ = ["Inventory", "Name"]

Name = tuple[str, str]
"""Schema and table; the schema is empty where the search_path decides."""


class Inventory:
    """Tables with their columns, None where those are not known."""

    def __init__(self) -> None:
        self.tables: dict[Name, set[str] | None] = {}
        self.doubts: list[str] = []
        """What could not be followed."""
        self._temporary: set[str] = set()
        self._path = ""
        """First schema of the search_path, where an SQL text has set it."""

    def take(self, construct: Any) -> None:
        """Follow one operation: a DDL construct, or an SQL text."""
        if isinstance(construct, schema.CreateTable):
            self._made(construct.element)
        elif isinstance(construct, schema.DropTable):
            self.apply(Change("drop", _name(construct.element.schema, construct.element.name)))
        elif isinstance(construct, RenameTable):
            self.apply(Change("rename", _name(construct.schema, construct.table_name), str(construct.new_table_name)))
        elif isinstance(construct, AddColumn):
            self.apply(Change("add", _name(construct.schema, construct.table_name), str(construct.column.name)))
        elif isinstance(construct, DropColumn):
            self.apply(Change("remove", _name(construct.schema, construct.table_name), str(construct.column.name)))
        elif isinstance(construct, ColumnName):
            self._renamed_column(construct)
        elif isinstance(construct, schema.DropSchema):
            self.apply(Change("drop schema", (str(construct.element), "")))
        elif isinstance(construct, (str, TextClause, schema.DDL)):
            words = getattr(construct, "text", None) or getattr(construct, "statement", None) or construct
            for change in changes_of(str(words)):
                self.apply(change)

    def _made(self, table: Any) -> None:
        if any("TEMP" in str(prefix).upper() for prefix in table._prefixes):
            self._temporary.add(str(table.name))
        else:
            self.apply(
                Change("create", _name(table.schema, table.name), columns=tuple(str(c.name) for c in table.columns))
            )

    def _renamed_column(self, construct: Any) -> None:
        name = _name(construct.schema, construct.table_name)
        self.apply(Change("remove", name, str(construct.column_name)))
        self.apply(Change("add", name, str(construct.newname)))

    def apply(self, change: Change) -> None:
        """Follow one change of one table."""
        kind, name = change.kind, self._found(change.name)
        if kind == "doubt":
            self.doubts.append(change.value)
        elif kind == "path":
            self._path = change.value
        elif kind == "temporary":
            self._temporary.add(change.name[1])
        elif kind == "drop schema":
            self.tables = {table: columns for table, columns in self.tables.items() if table[0] != change.name[0]}
        elif name[1] in self._temporary and name not in self.tables:
            return
        elif kind == "create":
            self.tables.setdefault(name, None if change.columns is None else set(change.columns))
        elif kind == "drop":
            self.tables.pop(name, None)
        elif kind == "rename":
            self.tables[name[0], change.value] = self.tables.pop(name, None)
        elif kind == "move":
            self.tables[change.value, name[1]] = self.tables.pop(name, None)
        else:
            self._change_column(name, kind, change.value)

    def _change_column(self, name: Name, kind: str, column: str) -> None:
        # A table that nothing made, as far as was seen, has to be there all the same: with columns unknown.
        columns = self.tables.setdefault(name, None)
        if columns is not None:
            (columns.add if kind == "add" else columns.discard)(column)

    def _found(self, name: Name) -> Name:
        """Return the table that is meant, which may have been made with its schema, or without."""
        whole = (name[0] or self._path, name[1])
        for candidate in (whole, ("", name[1]), ("public", name[1])):
            if candidate in self.tables and (candidate == whole or {candidate[0], whole[0]} == {"", "public"}):
                return candidate
        return whole


def _name(schema_name: Any, table: Any) -> Name:
    return str(schema_name or ""), str(table)
