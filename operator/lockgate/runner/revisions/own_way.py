"""Tells by its text whether env.py may connect in a way of its own, before any session is opened.

Where env.py demands TLS of a certain kind, or another login, a session by the URL alone would have logged in without
that before env.py could say so. One word too many costs the fast path without env.py, and nothing else.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["has_own_way", "names_own_way"]

_WORDS = re.compile(r"\b(?:connect_args|do_connect|(?:async_)?creator(?:_fn)?|ssl\w*|verify-(?:ca|full))\b")
_ARGUMENTS = re.compile(r"\bconnect_args[\"']?\s*[=:]\s*\{((?:\s*[\"']\w+[\"']\s*:[^,{}\[\]()*]+,?)*)\s*\}")
_NAME = re.compile(r"[\"'](\w+)[\"']\s*:")
_HARMLESS = frozenset(
    (
        *("connect_timeout", "timeout", "command_timeout", "application_name", "options", "client_encoding"),
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"),
        *("prepare_threshold", "statement_cache_size", "prepared_statement_cache_size", "check_same_thread"),
        *("charset", "autocommit"),
    )
)
"""Arguments that change nothing about who logs in, where, and over what."""
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(?:\(([^)]*)\)|([\w, \t]+))|import[ \t]+([\w., \t]+))", re.MULTILINE
)
_FOREIGN = frozenset((*sys.stdlib_module_names, "alembic", "sqlalchemy"))
LIMIT = 1_000_000
"""Bytes of a file that are read."""


def names_own_way(source: str) -> bool:
    """Return whether a source names something that changes how an engine connects."""
    rest = _ARGUMENTS.sub(lambda found: "" if set(_NAME.findall(found[1])) <= _HARMLESS else found[0], source)
    return bool(_WORDS.search(rest))


def has_own_way(env_file: Path, folder: Path, prepended: str) -> bool:
    """Return whether env.py, or a module that it imports, names a way of its own.

    ``prepended``: Alembic's option ``prepend_sys_path``, as seen from ``folder``.
    """
    places = [
        *(str(folder / name) for name in re.split(r"[:;,\s]+", prepended) if name),
        *filter(os.path.isdir, sys.path),
    ]
    source = _read(env_file)
    if names_own_way(source):
        return True
    return any(names_own_way(_read(file)) for file in _imported(source, tuple(places)))


def _imported(source: str, places: tuple[str, ...]) -> Iterator[Path]:
    for module, several, names, modules in _IMPORT.findall(source):
        parts = [item.split()[0] for item in (several or names or modules).split(",") if item.strip()]
        for name in (module, *(f"{module}.{part}" for part in parts)) if module else parts:
            if name.partition(".")[0] not in _FOREIGN:
                yield from _files(name, places)


def _files(module: str, places: tuple[str, ...]) -> Iterator[Path]:
    for place in places:
        found = Path(place or ".", *module.split("."))
        for file in (found.with_name(f"{found.name}.py"), found / "__init__.py"):
            if file.is_file():
                yield file
                return


def _read(file: Path) -> str:
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:
            return opened.read(LIMIT)
    except OSError:
        return ""
