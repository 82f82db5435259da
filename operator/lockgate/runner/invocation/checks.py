"""Health checks after a migration: what can be checked. Pure."""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "IMPLIED",
    "Check",
    "CommandCheck",
    "ConstraintCheck",
    "DriftCheck",
    "ExistsCheck",
    "HttpCheck",
    "IndexCheck",
    "SqlCheck",
    "as_text",
]


class SqlCheck(NamedTuple):
    """A query whose first column of the first row must be, as text, what is expected."""

    name: str
    query: str
    expect: str = "true"


class IndexCheck(NamedTuple):
    """No index may have become invalid by this run, except those named (``*``: all)."""

    name: str = "indexes"
    ignore: tuple[str, ...] = ()


IMPLIED = IndexCheck()
"""The very check that is on by default, without anybody having asked for it."""


class ExistsCheck(NamedTuple):
    """Tables, indexes and columns (``table.column``) that must be there, each with or without a schema."""

    name: str = "exists"
    tables: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


class ConstraintCheck(NamedTuple):
    """No constraint may have become NOT VALID by this run, except those named (``*``: all)."""

    name: str = "constraints"
    ignore: tuple[str, ...] = ()


class DriftCheck(NamedTuple):
    """Models and database must not differ, except in tables, or in differences, that are named."""

    name: str = "drift"
    ignore: tuple[str, ...] = ()


class HttpCheck(NamedTuple):
    """A URL must answer with this status within ``timeout`` seconds. The URL may hold secrets."""

    name: str
    url: str
    status: int = 200
    timeout: float = 5.0


class CommandCheck(NamedTuple):
    """A program must end with 0 within ``timeout`` seconds."""

    name: str
    command: tuple[str, ...]
    timeout: float = 30.0


Check = SqlCheck | IndexCheck | ExistsCheck | ConstraintCheck | DriftCheck | HttpCheck | CommandCheck


def as_text(value: object) -> str:
    """Spell a value as expectations are written: ``true``, ``false``, ``null``, else ``str()``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
