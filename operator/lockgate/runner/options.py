"""All that can be said to a command of `lockgate`: one table, from which flags, variables and help come. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lockgate.runner.check_parsing import parse_checks
from lockgate.runner.durations import parse_duration

__all__ = ["COMMANDS", "OPTIONS", "Option"]

COMMANDS = ("migrate", "wait", "status", "plan", "history", "check", "unlock")


@dataclass(frozen=True)
class Option:
    """One thing that can be said, as a flag or as a variable; the flag wins."""

    field: str
    variable: str
    default: str
    parse: Callable[[str], Any]
    help: str
    commands: tuple[str, ...] = COMMANDS
    switch: bool = False
    """The flag takes no value: it means ``true``."""

    @property
    def flag(self) -> str:
        """The flag of the command line."""
        return "--" + self.field.replace("_", "-")


def _text(text: str) -> str:
    return text


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"not one of {', '.join(choices)}")
        return text

    return parse


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < 1:
        raise ValueError("not a whole number of at least 1")
    return int(text)


def _arguments(text: str) -> tuple[tuple[str, str], ...]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError("not JSON") from error
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError('not a JSON object of strings; write it like {"tenant": "a"}')
    return tuple(value.items())


def _target(text: str) -> str:
    if re.match(r"(?:.*@)?[+-]", text):
        raise ValueError("counted from wherever the database is, so that a retry would go further; name a revision")
    if not text or text == "base" or ":" in text:
        raise ValueError("not a revision, a label or `heads`")
    return text


def _yes(text: str) -> bool:
    return _one_of("true", "false")(text) == "true"


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise ValueError("not the name of an environment variable")
    return text


MIGRATE = ("migrate",)
WAIT = ("wait",)
RUNS = ("migrate", "wait")
GRAPH = ("migrate", "wait", "status", "plan", "check")
"""Commands that compare the database with the image's revisions."""

OPTIONS: tuple[Option, ...] = (
    Option(
        "database_env",
        "LOCKGATE_DATABASE_ENV",
        "DATABASE_URL",
        _name,
        "name of the variable with the database URL; where it is not set, sqlalchemy.url of the configuration counts",
    ),
    Option(
        "config",
        "LOCKGATE_CONFIG",
        "",
        _text,
        "Alembic's configuration: an .ini file or pyproject.toml; unset, alembic.ini and pyproject.toml are tried",
    ),
    Option("section", "LOCKGATE_SECTION", "alembic", _text, "section of the .ini file"),
    Option("target", "LOCKGATE_TARGET", "heads", _target, "revision, label or `heads`", GRAPH),
    Option(
        "args",
        "LOCKGATE_ARGS",
        "{}",
        _arguments,
        "what env.py reads by get_x_argument(), as a JSON object (alembic -x key=value)",
        GRAPH,
    ),
    Option(
        "lock_wait",
        "LOCKGATE_LOCK_WAIT",
        "15m",
        parse_duration,
        "how long to wait while another process migrates this database",
        MIGRATE,
    ),
    Option(
        "run_timeout",
        "LOCKGATE_RUN_TIMEOUT",
        "1h",
        parse_duration,
        "how long the whole run may take; 0s: no limit",
        MIGRATE,
    ),
    Option(
        "ddl_lock_timeout",
        "LOCKGATE_DDL_LOCK_TIMEOUT",
        "500ms",
        parse_duration,
        "how long a statement may wait for a lock, and so make others wait behind it; 0s: no limit",
        MIGRATE,
    ),
    Option(
        "ddl_lock_attempts",
        "LOCKGATE_DDL_LOCK_ATTEMPTS",
        "40",
        _count,
        "attempts while other sessions hold what a revision needs",
        MIGRATE,
    ),
    Option(
        "statement_timeout",
        "LOCKGATE_STATEMENT_TIMEOUT",
        "0s",
        parse_duration,
        "how long one statement may run; 0s: no limit",
        MIGRATE,
    ),
    Option(
        "database_ahead",
        "LOCKGATE_DATABASE_AHEAD",
        "Accept",
        _one_of("Accept", "Block"),
        "what to do where the database contains newer revisions than this image: Accept or Block",
        GRAPH,
    ),
    Option(
        "half_applied",
        "LOCKGATE_HALF_APPLIED",
        "Stop",
        _one_of("Stop", "Resume"),
        "what to do with a revision that committed in the middle and did not end: Stop, or Resume behind what is"
        " committed",
        MIGRATE,
    ),
    Option(
        "checks",
        "LOCKGATE_CHECKS",
        "[]",
        parse_checks,
        "health checks as a JSON list, as in spec.checks",
        ("migrate", "check"),
    ),
    Option(
        "resource",
        "LOCKGATE_RESOURCE",
        "",
        _text,
        "what others see as the holder of the lock, for example <namespace>/<name>",
        RUNS,
    ),
    Option("image", "LOCKGATE_IMAGE", "", _text, "image, for lockgate.history", MIGRATE),
    Option("run", "LOCKGATE_RUN", "", _text, "id of this run, for lockgate.history", MIGRATE),
    Option(
        "pod", "LOCKGATE_POD", "", _text, "name of this pod, for those who wait for it and for lockgate.history", RUNS
    ),
    Option(
        "termination_message",
        "LOCKGATE_TERMINATION_MESSAGE",
        "",
        _text,
        "file that gets the report too, for example /dev/termination-log",
        RUNS,
    ),
    Option(
        "output",
        "LOCKGATE_OUTPUT",
        "plain",
        _one_of("plain", "json"),
        "plain, or json: one line per event, the report last",
    ),
    Option(
        "revision",
        "LOCKGATE_REVISION",
        "",
        _text,
        "wait for this revision, without reading the image's revision files",
        WAIT,
    ),
    Option(
        "version_table",
        "LOCKGATE_VERSION_TABLE",
        "",
        _text,
        "[schema.]name of Alembic's version table, where env.py sets another one",
        ("wait", "status", "plan", "check", "unlock"),
    ),
    Option("timeout", "LOCKGATE_TIMEOUT", "10m", parse_duration, "how long to wait; 0s: look once", WAIT),
    Option("limit", "LOCKGATE_LIMIT", "20", _count, "how many rows to show", ("history",)),
    Option(
        "yes",
        "LOCKGATE_YES",
        "false",
        _yes,
        "end the session without asking",
        ("unlock",),
        switch=True,
    ),
)
