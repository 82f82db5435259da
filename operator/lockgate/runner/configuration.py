"""What a run was told, from flags and environment, checked before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockgate.errors import InvalidConfiguration
from lockgate.runner.checks import Check
from lockgate.runner.options import OPTIONS

__all__ = ["Configuration", "read_configuration"]


@dataclass(frozen=True)
class Configuration:
    """One command of `lockgate`. All times in seconds; 0 means none."""

    database_env: str
    url: str
    """Value of the variable named ``database_env``; empty where it is not set. A secret."""
    config: str
    section: str
    target: str
    args: tuple[tuple[str, str], ...]
    lock_wait: float
    run_timeout: float
    ddl_lock_timeout: float
    ddl_lock_attempts: int
    statement_timeout: float
    database_ahead: str
    half_applied: str
    checks: tuple[Check, ...]
    resource: str
    image: str
    run: str
    pod: str
    termination_message: str
    output: str
    revision: str = ""
    version_table: str = ""
    timeout: float = 0.0
    limit: int = 20
    yes: bool = False


def read_configuration(command: str, flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Configuration:
    """Put flags over environment over defaults; InvalidConfiguration names the flag and the variable of a bad value."""
    values: dict[str, Any] = {}
    for option in OPTIONS:
        if command not in option.commands:
            values[option.field] = option.parse(option.default)
            continue
        text = flags.get(option.field)
        if text is None:
            # An empty variable is as good as none: charts and Compose files write those for "not set".
            text = environ.get(option.variable) or option.default
        try:
            values[option.field] = option.parse(text)
        except ValueError as error:
            raise InvalidConfiguration(
                f"{option.flag} (or the variable {option.variable}) is {text!r}: {error}.",
                advice=f"It means: {option.help}.",
            ) from None
    return Configuration(url=environ.get(values["database_env"], ""), **values)
