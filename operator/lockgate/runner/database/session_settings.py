"""What every session that touches the database is set to, as one statement. Pure.

All of these can be set by any role, per session. ``client_connection_check_interval`` (PostgreSQL 14) ends the
statement of a killed pod within seconds and so frees its locks; without it the server notices only when it next talks
to the client. Keepalives do the same for a node that vanished, and ``tcp_user_timeout`` (12) where an answer was under
way to it. Settings that the server does not know are left out.

A role or a database can set any of these as well, and many more. A session of env.py's keeps what it has, except for
what would end it while it holds the fence. A session of Lockgate's own takes nothing from there that its statements, or
what is read from them, depend on. `search_path` and `role` stay: they say which version table is meant, and whose.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lockgate.runner.database import keepalive

__all__ = [
    "NAME_LIMIT",
    "PLAIN_TRANSACTIONS",
    "Settings",
    "application_name",
    "is_kept",
    "named_and_read",
    "own_settings_statement",
    "settings_statement",
]

NAME_LIMIT = 63
"""Bytes of an application_name that PostgreSQL keeps (NAMEDATALEN - 1)."""

CHECK_CLIENT_MS = 1000
_UNITS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}

IDLE_IN_TRANSACTION_MS = 600_000
"""A paused pod that sits on locks loses its session after this time."""

LONGEST_MS = 2**31 - 1
"""What PostgreSQL takes as a time-out: 24 days."""


PLAIN_TRANSACTIONS = (
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE, NOT DEFERRABLE"
)
"""The first statement of a session of Lockgate's own. It takes no snapshot, for which a deferrable one would wait."""

OWN = {
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",
    "exit_on_error": "off",
    "client_encoding": "UTF8",
    "client_min_messages": "warning",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "transform_null_equals": "off",
    "row_security": "on",
    "default_table_access_method": "heap",
    "jit": "off",
}
"""What a session of Lockgate's own is set to, whatever the role, the database, or PGOPTIONS say: PostgreSQL's default,
except for `jit`, which compiles longer than any of the statements takes."""


class Settings(NamedTuple):
    """Session settings of a run. Times in milliseconds, 0 means none."""

    resource: str = ""
    pod: str = ""
    role: str = ""
    lock_timeout_ms: int = 0
    statement_timeout_ms: int = 0

    def named(self, role: str) -> Settings:
        """Return these settings for another role, for example ``leader`` or a revision."""
        return self._replace(role=role)


def application_name(settings: Settings) -> str:
    """Name the session for people who look into pg_stat_activity: every role can read this column, no other."""
    words = " ".join(word for word in ("lockgate", settings.resource, settings.pod, settings.role) if word)
    return words.encode("ascii", "replace")[:NAME_LIMIT].decode()


def settings_statement(settings: Settings) -> str:
    """Return a SELECT that applies the settings, each only where the server knows it.

    Time-outs only ever become stricter: what env.py, the role or the database set shorter stays.
    """
    stricter = {
        "lock_timeout": settings.lock_timeout_ms,
        "statement_timeout": settings.statement_timeout_ms,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MS,
    }
    return _statement({**_noticed(settings), "idle_session_timeout": "0"}, stricter)


def own_settings_statement(settings: Settings) -> str:
    """Return the same for a session of Lockgate's own, where nothing that the role or the database sets is kept."""
    limits = {"lock_timeout": settings.lock_timeout_ms, "statement_timeout": settings.statement_timeout_ms}
    exact = {name: str(min(value, LONGEST_MS)) for name, value in limits.items()}
    return _statement({**_noticed(settings), **OWN, **exact}, {})


def _noticed(settings: Settings) -> dict[str, str]:
    """Return the name of a session, and what makes the server notice that its client is gone."""
    return {
        "application_name": application_name(settings),
        "client_connection_check_interval": str(CHECK_CLIENT_MS),
        "tcp_keepalives_idle": str(keepalive.IDLE_SECONDS),
        "tcp_keepalives_interval": str(keepalive.INTERVAL_SECONDS),
        "tcp_keepalives_count": str(keepalive.COUNT),
        "tcp_user_timeout": str(keepalive.UNANSWERED_MS),
    }


def _statement(exact: Mapping[str, str], stricter: Mapping[str, int]) -> str:
    rows = [f"({_quoted(name)}, {_quoted(value)}, false)" for name, value in exact.items()]
    rows += [f"({_quoted(name)}, '{min(value, LONGEST_MS)}', true)" for name, value in stricter.items() if value]
    return (
        "SELECT count(set_config(wanted.name, wanted.value, false)) FROM (VALUES "
        + ", ".join(rows)
        + ") AS wanted (name, value, stricter) JOIN pg_catalog.pg_settings AS known ON lower(known.name) = wanted.name"
        " WHERE CASE WHEN wanted.stricter"
        " THEN CAST(known.setting AS bigint) = 0 OR CAST(known.setting AS bigint) > CAST(wanted.value AS bigint)"
        # Set by an earlier attempt, whose time-out was shorter: see `lock_timeout_ms`.
        " OR wanted.name = 'lock_timeout' AND mod(CAST(known.setting AS bigint), 10) = 3"
        " ELSE true END"
    )


def named_and_read(settings: Settings) -> str:
    """Return columns of a SELECT that name the session, and then read what a revision may have set otherwise."""
    return (
        f"set_config('application_name', {_quoted(application_name(settings))}, false) AS named,"
        " current_setting('lock_timeout') AS locks,"
        " current_setting('statement_timeout') AS statements,"
        " current_setting('idle_in_transaction_session_timeout') AS idle,"
        " current_setting('client_connection_check_interval', true) AS checks"
    )


def is_kept(settings: Settings, found: Sequence[str | None]) -> bool:
    """Return whether what `named_and_read` read is what `settings_statement` would leave."""
    *limits, interval = found
    wanted = (settings.lock_timeout_ms, settings.statement_timeout_ms, IDLE_IN_TRANSACTION_MS)
    if any(most and not 0 < _milliseconds(text or "") <= most for text, most in zip(limits, wanted, strict=True)):
        return False
    return interval is None or _milliseconds(interval) == CHECK_CLIENT_MS


@functools.lru_cache(maxsize=16)
def _milliseconds(text: str) -> int:
    """Read a time as PostgreSQL shows settings: 0, 500ms, 4s, 10min; 0 for what cannot be read."""
    found = re.fullmatch(r"(\d+)(ms|s|min|h|d)", text)
    return int(found[1]) * _UNITS[found[2]] if found else 0


def _quoted(text: str) -> str:
    """Quote a literal, without what would mean something to SQLAlchemy or to a driver: colons and percent signs."""
    safe = text.replace("'", "''").replace("\\", "/").replace(":", ";").replace("%", "_")
    return f"'{safe}'"
