"""Reads ``spec.checks``: the list that the resource, the variable and the flag hold, as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from lockgate.runner.durations import parse_duration
from lockgate.runner.invocation.checks import (
    IMPLIED,
    Check,
    CommandCheck,
    ConstraintCheck,
    DriftCheck,
    ExistsCheck,
    HttpCheck,
    IndexCheck,
    SqlCheck,
    as_text,
)

__all__ = ["parse_checks"]

MAX_CHECKS = 50
KINDS = ("sql", "indexes", "exists", "constraints", "drift", "http", "command")
ALONE = ("indexes", "constraints", "drift")
"""Kinds of which a list needs one at most: without a name, such a check is called by its kind."""


def parse_checks(text: str) -> tuple[Check, ...]:
    """Read ``spec.checks`` from JSON; ValueError says which entry is wrong. An index check is added where none is."""
    try:
        items = json.loads(text)
    except ValueError as error:
        raise ValueError("not JSON") from error
    if not isinstance(items, list) or len(items) > MAX_CHECKS:
        raise ValueError(f"not a JSON list of at most {MAX_CHECKS} checks")
    checks = tuple(_check(position, item) for position, item in enumerate(items, 1))
    if any(isinstance(check, IndexCheck) for check in checks):
        return checks
    return (IMPLIED, *checks)


def _check(position: int, item: Any) -> Check:
    kinds = [kind for kind in KINDS if isinstance(item, dict) and kind in item]
    if len(kinds) != 1:
        raise ValueError(f"check {position} must have exactly one of {', '.join(KINDS)}")
    kind, settings = kinds[0], item[kinds[0]]
    unknown = set(item) - {"name", kind}
    if unknown:
        raise ValueError(f"check {position} has unknown keys: {', '.join(sorted(unknown))}")
    if not isinstance(settings, dict):
        raise ValueError(f"check {position}: {kind} must be an object")
    name = str(item.get("name") or (kind if kind in ALONE else f"{kind}-{position}"))
    try:
        return _READERS[kind](name, settings)
    except ValueError as error:
        raise ValueError(f"check {position}: {kind} {error}") from None


def _sql(name: str, settings: Mapping[str, Any]) -> Check:
    if set(settings) - {"query", "expect"} or not isinstance(settings.get("query"), str) or not settings["query"]:
        raise ValueError("needs a query (text) and may have expect (text)")
    return SqlCheck(name, settings["query"], as_text(settings.get("expect", "true")))


def _ignoring(kind: Callable[[str, tuple[str, ...]], Check]) -> Callable[[str, Mapping[str, Any]], Check]:
    def read(name: str, settings: Mapping[str, Any]) -> Check:
        if set(settings) - {"ignore"}:
            raise ValueError("may have ignore, and nothing else")
        return kind(name, _names(settings, "ignore"))

    return read


def _names(settings: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = settings.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"needs a list of names in {key}")
    return tuple(names)


def _exists(name: str, settings: Mapping[str, Any]) -> Check:
    keys = ("tables", "indexes", "columns")
    found = {key: _names(settings, key) for key in keys}
    if set(settings) - set(keys) or not any(found.values()):
        raise ValueError("needs tables, indexes or columns (lists of names)")
    if not all("." in column for column in found["columns"]):
        raise ValueError("needs each column with its table, like orders.customer_id")
    return ExistsCheck(name, **found)


def _http(name: str, settings: Mapping[str, Any]) -> Check:
    url, status = settings.get("url"), settings.get("status", 200)
    if set(settings) - {"url", "status", "timeout"} or not isinstance(url, str):
        raise ValueError("needs a url, and may have status and timeout")
    if not _is_url(url):
        raise ValueError("needs a url like http://shop/healthz")
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 599:
        raise ValueError("needs a status between 100 and 599")
    return HttpCheck(name, url, status, _seconds(settings, "5s"))


def _is_url(url: str) -> bool:
    if any(not sign.isprintable() or sign.isspace() for sign in url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its words quote the URL
        return False


def _command(name: str, settings: Mapping[str, Any]) -> Check:
    command = settings.get("command")
    if set(settings) - {"command", "timeout"} or not isinstance(command, list) or not command:
        raise ValueError("needs a command (a list: the program and its arguments), and may have timeout")
    if not all(isinstance(word, str) and "\0" not in word for word in command) or not command[0]:
        raise ValueError("needs a command made of texts")
    return CommandCheck(name, tuple(command), _seconds(settings, "30s"))


def _seconds(settings: Mapping[str, Any], default: str) -> float:
    text = settings.get("timeout", default)
    if not isinstance(text, str):
        raise ValueError("needs a timeout like 5s")
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError(f"has a timeout that is {error}") from None


_READERS: Mapping[str, Callable[[str, Mapping[str, Any]], Check]] = {
    "sql": _sql,
    "indexes": _ignoring(IndexCheck),
    "exists": _exists,
    "constraints": _ignoring(ConstraintCheck),
    "drift": _ignoring(DriftCheck),
    "http": _http,
    "command": _command,
}
