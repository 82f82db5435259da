"""``[tool.lockgate]`` of pyproject.toml: what a project says once, for everybody who runs its migrations.

Keys are the flags without their dashes (``lock-wait``), values have TOML's own types. Only what is the same for every
run may stand there.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockgate.errors import InvalidConfiguration
from lockgate.runner.invocation.nearest import nearest
from lockgate.runner.invocation.option import Option
from lockgate.runner.invocation.options import OPTIONS

__all__ = ["FileSettings", "read_project_file", "working_directory"]

_FILE = "pyproject.toml"
_TABLE = re.compile(rb"^\s*\[\s*tool\s*\.\s*[\"']?lockgate\b", re.MULTILINE)
_URL_KEYS = ("url", "database-url", "database_url", "dsn", "password")
_WANTED: Mapping[type, str] = {
    str: 'a text, like "{example}"',
    int: "a whole number, like {example}",
    bool: "true or false",
    dict: 'a table of texts, like {{tenant = "a"}}',
    list: "an array of tables, each below [[tool.lockgate.{name}]]",
}
_FOUND: Mapping[type, str] = {
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false, without quotes",
    dict: "a table",
    list: "an array",
}


@dataclass(frozen=True)
class FileSettings:
    """What a file says, by field, as the text that a variable would hold. Without a file: nothing."""

    path: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


def working_directory() -> Path:
    """Return the folder from which files are named; InvalidConfiguration where it has been removed."""
    try:
        return Path.cwd()
    except OSError as error:
        raise InvalidConfiguration(
            f"The working directory cannot be used: {error.strerror}.", advice="Start lockgate in a folder that exists."
        ) from None


def read_project_file(named: str, folder: Path) -> FileSettings:
    """Read ``[tool.lockgate]`` from the pyproject.toml of ``folder``, or from the one that is ``named`` (--config).

    InvalidConfiguration names file and key. A file that does not mention Lockgate is not even parsed: most runs need no
    TOML, and Python 3.10 can read none by itself.
    """
    path = folder / (named if Path(named).name == _FILE else _FILE)
    try:
        content = path.read_bytes()
    except (OSError, ValueError):  # ValueError: a name that cannot be one
        return FileSettings()
    if b"lockgate" not in content:
        return FileSettings()
    table = _table(content, path)
    values = {option.field: _value(option, value, path) for option, value in _known(table, path)}
    return FileSettings(str(path), values)


def _table(content: bytes, path: Path) -> Mapping[str, Any]:
    loads = _reader()
    if loads is None:
        if not _TABLE.search(content):
            return {}
        raise InvalidConfiguration(
            f"{path} has a table [tool.lockgate], which this Python cannot read.",
            advice="Install tomli (Alembic brings it from 1.16 on), or use Python 3.11.",
        )
    try:
        tool = loads(content.decode()).get("tool")
    except (ValueError, RecursionError) as error:  # broken TOML, or no UTF-8
        what = "not UTF-8" if isinstance(error, UnicodeError) else "not TOML"
        where = re.search(r"\(at [^)]*\)$", str(error))  # the rest of the words can quote the file
        raise InvalidConfiguration(
            f"{path} cannot be read: it is {what}{f' {where.group()}' if where else ''}.",
            advice="It mentions lockgate, so it may say how to migrate.",
        ) from None
    table = tool.get("lockgate", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise InvalidConfiguration(
            f"tool.lockgate in {path} is no table.", advice="Write [tool.lockgate] above its keys."
        )
    return table


def _reader() -> Callable[[str], dict[str, Any]] | None:
    for name in ("tomllib", "tomli"):
        try:
            found: Callable[[str], dict[str, Any]] = importlib.import_module(name).loads
        except ImportError:
            continue
        return found
    return None


def _known(table: Mapping[str, Any], path: Path) -> list[tuple[Option, Any]]:
    known = {option.name: option for option in OPTIONS}
    allowed = {name for name, option in known.items() if not option.never_in_file}
    found = []
    for key, value in table.items():
        option = known.get(key)
        if option is None:
            raise _unknown(key, allowed, path)
        if option.never_in_file:
            raise InvalidConfiguration(
                f"{_place(key, path)} cannot stand in a file: {option.never_in_file}.",
                advice=f"Say {option.flag}, or set {option.variable}.",
            )
        found.append((option, value))
    return found


def _unknown(key: str, allowed: set[str], path: Path) -> InvalidConfiguration:
    if key in _URL_KEYS:
        return InvalidConfiguration(
            f"{_place(key, path)} cannot stand in a file: a database URL holds a password.",
            advice="Put the URL into a variable, and that variable's name into `database-env`.",
        )
    near = nearest(key.lower().replace("_", "-"), allowed, 0.5)
    advice = f"Did you mean `{near}`?" if near else f"The keys are {', '.join(sorted(allowed))}."
    return InvalidConfiguration(f"{_place(key, path)} is no key.", advice=advice)


def _value(option: Option, value: Any, path: Path) -> str:
    """Return the text that the variable of this option would hold."""
    if type(value) is not option.toml:  # exactly: True is no number
        wanted = _WANTED[option.toml].format(example=option.default or "...", name=option.name)
        raise InvalidConfiguration(
            f"{_place(option.name, path)} is {_FOUND.get(type(value), 'a date or a time')}.",
            advice=f"It has to be {wanted}.",
        )
    if option.toml is str:
        return str(value)
    try:
        return json.dumps(value)  # a number is its digits, `true` is true
    except (TypeError, ValueError, RecursionError):  # dates; numbers of thousands of digits
        raise InvalidConfiguration(
            f"{_place(option.name, path)} holds what JSON cannot, such as a date.",
            advice="Write it as a text, in quotes.",
        ) from None


def _place(key: str, path: Path) -> str:
    return f"`{key}` in [tool.lockgate] of {path}"
