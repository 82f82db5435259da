"""What a statement with CONCURRENTLY builds, as read from its words. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from lockgate.runner.database.sql_text import NAME, literal, unquoted
from lockgate.runner.sql.lexer import without_comments

__all__ = ["IndexWork", "built_index", "index_work", "valid_index"]

_CREATE = re.compile(
    rf"\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>(?!ON\s){NAME})\s+)?"
    rf"ON\s+(?:ONLY\s+)?(?P<table>{NAME}(?:\s*\.\s*{NAME})?)",
    re.IGNORECASE,
)
_REINDEX = re.compile(
    r"\s*REINDEX\s*(?:\([^)]*\)\s*)?(?P<kind>INDEX|TABLE|SCHEMA|DATABASE)\s+(?:CONCURRENTLY\s+)?"
    rf"(?P<target>{NAME}(?:\s*\.\s*{NAME})?)?",
    re.IGNORECASE,
)


class IndexWork(NamedTuple):
    """What a statement with CONCURRENTLY builds."""

    scope: str
    """SQL: which rows of pg_index (``i``, with pg_class ``c`` and pg_namespace ``n``) can be what it leaves invalid."""
    exact: bool
    """The scope is one index by its name; otherwise only what became invalid since the first try counts."""
    name: str = ""
    """The name of that one."""


def index_work(statement: str) -> IndexWork | None:
    """Read the statement; None where it builds no index CONCURRENTLY."""
    text = without_comments(statement)
    created = _CREATE.match(text)
    if created:
        on_table = f"i.indrelid = to_regclass({literal(created['table'])})"
        if not created["name"]:
            return IndexWork(on_table, exact=False)
        name = unquoted(created["name"])
        return IndexWork(f"{on_table} AND c.relname = {literal(name)}", exact=True, name=name)
    rebuilt = _REINDEX.match(text)
    if not rebuilt or not re.search(r"\bCONCURRENTLY\b", text, re.IGNORECASE):
        return None
    kind, target = rebuilt["kind"].upper(), rebuilt["target"] or ""
    rests = "c.relname ~ '_cc(new|old)[0-9]*$'"
    return IndexWork(f"{rests} AND {_REBUILT[kind](target)}", exact=False)


def built_index(statement: str) -> str:
    """Return the name of the index that the statement builds CONCURRENTLY, or nothing."""
    work = index_work(statement)
    return work.name if work else ""


_REBUILT: dict[str, Callable[[str], str]] = {
    "INDEX": lambda name: (
        f"i.indrelid = (SELECT b.indrelid FROM pg_catalog.pg_index b WHERE b.indexrelid = to_regclass({literal(name)}))"
    ),
    "TABLE": lambda name: _with_toast(f"t.oid = to_regclass({literal(name)})"),
    "SCHEMA": lambda name: _with_toast(f"t.relnamespace = to_regnamespace({literal(name)})"),
    "DATABASE": lambda _: _with_toast("CAST(CAST(t.relnamespace AS regnamespace) AS text) NOT LIKE 'pg_%'"),
}


def _with_toast(which: str) -> str:
    """Return SQL for the indexes of these tables, and of what is stored apart for them: REINDEX rebuilds those too."""
    return f"EXISTS (SELECT FROM pg_catalog.pg_class t WHERE i.indrelid IN (t.oid, t.reltoastrelid) AND {which})"


def valid_index(statement: str) -> str | None:
    """Return SQL that says whether the index that a statement builds by name is there and valid; None: it has no name.

    Of the statement's words only the name and the table count.
    """
    work = index_work(statement)
    if work is None or not work.exact:
        return None
    return (
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
        f" JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE i.indisvalid AND {work.scope})"
    )
