"""Names, literals and comments in the text of SQL, as PostgreSQL writes them. Pure."""

from __future__ import annotations

import re

__all__ = ["NAME", "THIS_DATABASE", "literal", "quoted", "unquoted", "without_comments"]

NAME = r'(?:"(?:[^"]|"")+"|[\w$]+)'
"""Regular expression: one name, in quotes or without."""

THIS_DATABASE = "(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())"
"""SQL: the number by which pg_locks names the database of the session that asks."""

_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)


def quoted(name: str) -> str:
    """Return a name as in the catalog, for a statement."""
    return '"' + name.replace('"', '""') + '"'


def unquoted(name: str) -> str:
    """Return a name of a statement as in the catalog."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


def literal(text: str) -> str:
    """Return a text as a literal, for statements that no driver looks into for parameters."""
    return "'" + text.replace("'", "''") + "'"


def without_comments(statement: str) -> str:
    """Return a statement with a blank in the place of each comment."""
    return _COMMENT.sub(" ", statement)
