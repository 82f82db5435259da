"""Compares how strictly libpq was told to use TLS for two connections."""

from __future__ import annotations

from typing import Any

__all__ = ["is_stricter", "sslmode_of"]

_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""From the least strict one; `prefer` is libpq's own."""


def sslmode_of(connection: Any) -> str:
    """Return the ``sslmode`` of a connection of psycopg's or psycopg2's, or an adapter of one; nothing of others."""
    info = getattr(getattr(connection, "driver_connection", None) or connection, "info", None)
    told: Any = getattr(info, "dsn_parameters", None)
    if told is None:
        asked = getattr(info, "get_parameters", dict)
        told = {"sslmode": "prefer", **asked()} if asked is not dict else {}  # it leaves out what is libpq's own
    return str(told.get("sslmode", ""))


def is_stricter(mode: str, other: str) -> bool:
    """Return whether a mode demands more than the other; what is not known demands nothing."""
    return mode in _MODES and other in _MODES and _MODES.index(mode) > _MODES.index(other)
