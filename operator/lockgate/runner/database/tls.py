"""Compares how strictly libpq was told to use TLS for two connections."""

from __future__ import annotations

from typing import Any

__all__ = ["is_stricter", "sslmode_of"]

_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""From the least strict one; `prefer` is libpq's own."""


def sslmode_of(connection: Any) -> str:
    """Return the ``sslmode`` of a connection of psycopg's or psycopg2's, or an adapter of one; nothing of others."""
    driver = getattr(connection, "driver_connection", None) or connection
    told = getattr(getattr(driver, "info", None), "dsn_parameters", None)
    if told is not None:
        return str(told.get("sslmode", ""))
    # psycopg's info.get_parameters() looks for the home directory, and fails where a user of a container has none.
    options = getattr(getattr(driver, "pgconn", None), "info", ())
    return next((bytes(option.val or b"").decode() for option in options if option.keyword == b"sslmode"), "")


def is_stricter(mode: str, other: str) -> bool:
    """Return whether a mode demands more than the other; what is not known demands nothing."""
    return mode in _MODES and other in _MODES and _MODES.index(mode) > _MODES.index(other)
