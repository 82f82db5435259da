"""What an SQL text does to tables and their columns, as far as can be read from it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from lockgate.runner.database.sql_text import unquoted
from lockgate.runner.sql.lexer import COMMENT, LITERAL, statements
from lockgate.runner.sql.values import without_values

__all__ = ["Change", "changes_of"]

_IDENTIFIER = r'(?:"(?:[^"]|"")+"|[A-Za-z_\u0080-\uffff][\w$]*)'
_NAME = rf"(?:(?P<schema>{_IDENTIFIER})\s*\.\s*)?(?P<table>{_IDENTIFIER})"
_FLAGS = re.IGNORECASE | re.DOTALL
_CREATE = re.compile(
    rf"CREATE\s+(?P<kind>(?:(?:GLOBAL|LOCAL|TEMP|TEMPORARY|UNLOGGED|FOREIGN)\s+)*)TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}"
    r"\s*(?P<rest>.*)",
    _FLAGS,
)
_DROP = re.compile(
    r"DROP\s+(?:FOREIGN\s+)?TABLE\s+(?:IF\s+EXISTS\s+)?(?P<names>.*?)(?:\s+(?:CASCADE|RESTRICT))?$", _FLAGS
)
_ALTER = re.compile(
    rf"ALTER\s+(?:FOREIGN\s+)?TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?{_NAME}\s*\*?\s+(?P<rest>.*)", _FLAGS
)
_DROP_SCHEMA = re.compile(rf"DROP\s+SCHEMA\s+(?:IF\s+EXISTS\s+)?(?P<name>{_IDENTIFIER})", _FLAGS)
_PATH = re.compile(r"SET\s+(?:LOCAL\s+|SESSION\s+)?search_path\s*(?:TO|=)\s*(?P<first>[^,]+)", _FLAGS)
_NO_COLUMN = re.compile(r"(?:CONSTRAINT|PRIMARY|UNIQUE|CHECK|FOREIGN|EXCLUDE|TABLE)\b", re.IGNORECASE)
_DYNAMIC = re.compile(r"\b(?:EXECUTE|(?:CREATE|ALTER|DROP)\b[^;]*\bTABLE)\b", _FLAGS)
_DOUBTS = re.compile(
    r"(?:CALL|EXECUTE)\b|ALTER\s+SCHEMA\b|IMPORT\s+FOREIGN\s+SCHEMA\b|SELECT\b(?:(?!\bFROM\b).)*\bINTO\b"
    r"|ALTER\s+EXTENSION\b.*\bSCHEMA\b|DROP\s+OWNED\b",
    _FLAGS,
)


class Change(NamedTuple):
    """What one statement does: ``create``, ``drop``, ``rename``, ``move``, ``add`` (a column), ``remove``, ...

    ``doubt``: nobody can tell, ``value`` is the statement. ``path``: the search_path. ``temporary``: no table to count.
    """

    kind: str
    name: tuple[str, str] = ("", "")
    """Schema, or nothing, and table."""
    value: str = ""
    columns: tuple[str, ...] | None = None
    """Of a table that is made; None where they are not said."""


def changes_of(sql: str) -> list[Change]:
    """Return what SQL with any number of statements does, in order."""
    return [change for text, whole in _statements(sql) for change in _changes(text, whole)]


def _statements(sql: str) -> Iterator[tuple[str, str]]:
    """Yield each statement twice: with nothing in its bodies and literals, and whole."""
    for statement in statements(sql):
        text = "".join(_WITHOUT.get(token.kind, token.text) for token in statement).strip()
        if text:
            yield text, "".join(" " if token.kind == COMMENT else token.text for token in statement).strip()


_WITHOUT = {COMMENT: " ", LITERAL: "''"}


def _changes(text: str, whole: str) -> Iterator[Change]:
    created, altered, dropped = _CREATE.match(text), _ALTER.match(text), _DROP.match(text)
    gone, path = _DROP_SCHEMA.match(text), _PATH.match(whole)
    if created:
        yield _creation(created)
    elif altered:
        yield from _alterations(_pair(altered), altered["rest"].strip())
    elif dropped:
        for name in _split(dropped["names"]):
            found = re.match(_NAME, name)
            if found:
                yield Change("drop", _pair(found))
    elif gone:
        yield Change("drop schema", (unquoted(gone["name"]), ""))
    elif path:
        first = path["first"].strip().strip("'")
        yield Change("path", value="" if first.upper() == "DEFAULT" or "$user" in first else unquoted(first))
    elif _DOUBTS.match(text) or (re.match(r"DO\b", text, re.IGNORECASE) and _DYNAMIC.search(whole)):
        yield Change("doubt", value=without_values(whole)[:80])


def _creation(found: re.Match[str]) -> Change:
    if "TEMP" in found["kind"].upper():
        return Change("temporary", _pair(found))
    rest = found["rest"]
    if not rest.startswith("(") or re.search(r"\)\s*(?:INHERITS\b|AS\b)", rest, re.IGNORECASE):
        return Change("create", _pair(found))
    columns = []
    for item in _split(_inside(rest)):
        if re.match(r"LIKE\b", item, re.IGNORECASE):
            return Change("create", _pair(found))
        column = re.match(_IDENTIFIER, item)
        if column and not _NO_COLUMN.match(item):
            columns.append(unquoted(column[0]))
    return Change("create", _pair(found), columns=tuple(columns))


def _alterations(name: tuple[str, str], rest: str) -> Iterator[Change]:
    renamed = re.match(rf"RENAME\s+TO\s+({_IDENTIFIER})", rest, re.IGNORECASE)
    moved = re.match(rf"SET\s+SCHEMA\s+({_IDENTIFIER})", rest, re.IGNORECASE)
    column = re.match(
        rf"RENAME\s+(?:COLUMN\s+)?(?!CONSTRAINT\b)({_IDENTIFIER})\s+TO\s+({_IDENTIFIER})", rest, re.IGNORECASE
    )
    if renamed:
        yield Change("rename", name, unquoted(renamed[1]))
    elif moved:
        yield Change("move", name, unquoted(moved[1]))
    elif column:
        yield Change("remove", name, unquoted(column[1]))
        yield Change("add", name, unquoted(column[2]))
    else:
        for action in _split(rest):
            found = re.match(
                rf"(?P<kind>ADD|DROP)\s+(?P<word>COLUMN\s+)?(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(?P<column>{_IDENTIFIER})",
                action,
                re.IGNORECASE,
            )
            if found and (found["word"] or not _NO_COLUMN.match(found["column"])):
                yield Change("add" if found["kind"].upper() == "ADD" else "remove", name, unquoted(found["column"]))


def _inside(text: str) -> str:
    """Return what is inside the parenthesis with which the text begins."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[1:position]
    return text[1:]


def _split(text: str) -> list[str]:
    """Split at the commas that are in no parenthesis and in no quotes."""
    parts, depth, start, quoted = [], 0, 0, False
    for position, character in enumerate(text):
        quoted ^= character == '"'
        if not quoted:
            depth += (character in "([") - (character in ")]")
            if character == "," and depth == 0:
                parts.append(text[start:position].strip())
                start = position + 1
    return [*parts, text[start:].strip()]


def _pair(found: re.Match[str]) -> tuple[str, str]:
    return unquoted(found["schema"] or ""), unquoted(found["table"])
