"""What a run was told, from flags, environment and pyproject.toml, checked before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lockgate.errors import InvalidConfiguration
from lockgate.runner.invocation.checks import Check
from lockgate.runner.invocation.nearest import nearest
from lockgate.runner.invocation.option import Option
from lockgate.runner.invocation.options import OPTIONS
from lockgate.runner.invocation.project_file import FileSettings

__all__ = ["Configuration", "read_configuration"]

NO_FILE = FileSettings()


class Configuration(NamedTuple):
    """One command of `lockgate`. All times in seconds; 0 means none."""

    command: str
    database_env: str
    url: str
    """Value of the variable named ``database_env``; empty where it is not set. A secret."""
    config: str
    section: str
    connect: str
    target: str
    args: tuple[tuple[str, str], ...]
    lock_wait: float
    run_timeout: float
    ddl_lock_timeout: float
    ddl_lock_attempts: int
    statement_timeout: float
    database_ahead: str
    half_applied: str
    fast_path: str
    transactions: str
    checks: tuple[Check, ...]
    resource: str
    image: str
    run: str
    pod: str
    termination_message: str
    output: str
    revision: str = ""
    adopted: str = ""
    baseline: str = ""
    baseline_tables: tuple[str, ...] = ()
    destination: str = ""
    downgrade: str = "Deny"
    version_table: str = ""
    timeout: float = 0.0
    limit: int = 20
    yes: bool = False


def read_configuration(
    command: str, flags: Mapping[str, str | None], environ: Mapping[str, str], file: FileSettings = NO_FILE
) -> Configuration:
    """Put flags over environment over pyproject.toml over defaults; InvalidConfiguration says where a bad value is."""
    values: dict[str, Any] = {}
    for option in OPTIONS:
        if command not in option.commands:
            values[option.field] = option.parse(option.default)
            continue
        text, place = _said(option, flags, environ, file)
        if option.positional and not text:
            raise InvalidConfiguration(
                f"`lockgate {command}` needs a {option.metavar}.", advice=f"It means: {option.help}."
            )
        try:
            values[option.field] = option.parse(_writable(text))
        except (ValueError, RecursionError) as error:  # RecursionError: JSON in JSON in JSON
            why = "nested too deeply" if isinstance(error, RecursionError) else error
            raise InvalidConfiguration(f"{place} is {text!r}: {why}.", advice=f"It means: {option.help}.") from None
    return Configuration(command=command, url=environ.get(values["database_env"], "").strip(), **values)


def misspelt(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return variables that look like one of Lockgate's and are none, each with the one that was probably meant.

    Not an error: Kubernetes itself sets variables for a Service that is called lockgate (LOCKGATE_PORT, ...).
    """
    known = {option.variable for option in OPTIONS}
    found = []
    for name in sorted(set(environ) - known):
        if name.startswith("LOCKGATE_") and not name.startswith(("LOCKGATE_PORT", "LOCKGATE_SERVICE_")):
            near = nearest(name.removeprefix("LOCKGATE_"), [one.removeprefix("LOCKGATE_") for one in known], 0.8)
            found += [(name, f"LOCKGATE_{near}")] if near else []
    return found


def _writable(text: str) -> str:
    if "\0" in text or r"\u0000" in text:
        raise ValueError("with a character (NUL) that no database and no file name takes")
    return text


def _said(
    option: Option, flags: Mapping[str, str | None], environ: Mapping[str, str], file: FileSettings
) -> tuple[str, str]:
    """Return what was said of an option, and where."""
    place = f"{option.flag} (or the variable {option.variable})"
    text = flags.get(option.field)
    if text is not None:
        return text, place
    # An empty variable is as good as none: charts and Compose files write those for "not set".
    if environ.get(option.variable):
        return environ[option.variable], place
    if file.values.get(option.field):
        return file.values[option.field], f"`{option.name}` in [tool.lockgate] of {file.path}"
    return option.default, place
