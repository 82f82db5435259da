"""Health checks after a migration: what can be checked. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
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


@dataclass(frozen=True)
class SqlCheck:
    """A query whose first column of the first row must be, as text, what is expected."""

    name: str
    query: str
    expect: str = "true"


@dataclass(frozen=True)
class IndexCheck:
    """No index may have become invalid by this run, except those named (``*``: all)."""

    name: str = "indexes"
    ignore: tuple[str, ...] = ()
    implied: bool = field(default=False, compare=False)
    """Nobody asked for it: it is on by default."""


@dataclass(frozen=True)
class ExistsCheck:
    """Tables, indexes and columns (``table.column``) that must be there, each with or without a schema."""

    name: str = "exists"
    tables: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConstraintCheck:
    """No constraint may have become NOT VALID by this run, except those named (``*``: all)."""

    name: str = "constraints"
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class DriftCheck:
    """Models and database must not differ, except in tables, or in differences, that are named."""

    name: str = "drift"
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class HttpCheck:
    """A URL must answer with this status within ``timeout`` seconds. The URL may hold secrets."""

    name: str
    url: str
    status: int = 200
    timeout: float = 5.0


@dataclass(frozen=True)
class CommandCheck:
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
