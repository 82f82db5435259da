"""Names and literals for the text of SQL, as PostgreSQL writes them; `sql.lexer` reads them. Pure."""

from __future__ import annotations

__all__ = ["NAME", "THIS_DATABASE", "literal", "quoted", "unquoted"]

NAME = r'(?:"(?:[^"]|"")+"|[\w$]+)'
"""Regular expression: one name, in quotes or without."""

THIS_DATABASE = "(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())"
"""SQL: the number by which pg_locks names the database of the session that asks."""


def quoted(name: str) -> str:
    """Return a name as in the catalog, for a statement."""
    return '"' + name.replace('"', '""') + '"'


def unquoted(name: str) -> str:
    """Return a name of a statement as in the catalog."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


def literal(text: str) -> str:
    """Return a text as a literal, for statements that no driver looks into for parameters."""
    return "'" + text.replace("'", "''") + "'"
