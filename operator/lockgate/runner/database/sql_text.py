"""Names, literals and comments in the text of SQL, as PostgreSQL writes them. Pure."""

from __future__ import annotations

import re

__all__ = ["NAME", "THIS_DATABASE", "literal", "quoted", "unquoted", "without_comments", "without_literals"]

NAME = r'(?:"(?:[^"]|"")+"|[\w$]+)'
"""Regular expression: one name, in quotes or without."""

THIS_DATABASE = "(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())"
"""SQL: the number by which pg_locks names the database of the session that asks."""

# What has no end goes to the end of the text: looking for it again and again would take the square of its length.
_LITERAL = (
    r"\b[eE]'(?:\\.|[^'\\])*(?:'|\Z)|'[^']*(?:'|\Z)|\"[^\"]*(?:\"|\Z)"
    r"|\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)"
)
_COMMENT = re.compile(rf"(?P<literal>{_LITERAL})|/\*.*?(?:\*/|\Z)|--[^\n]*", re.DOTALL)
_TEXTS = re.compile(_LITERAL, re.DOTALL)


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
    if "--" not in statement and "/*" not in statement:
        return statement
    return _COMMENT.sub(lambda found: found["literal"] or " ", statement)


def without_literals(statement: str) -> str:
    """Return a statement, without comments already, with a blank in the place of each literal and function body."""
    return _TEXTS.sub(" ", statement)
