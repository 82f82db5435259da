"""All that can be said to a command of `lockgate`: one table, from which flags, variables and help come. Pure."""

from __future__ import annotations

import json
import re

from lockgate.runner.durations import parse_duration
from lockgate.runner.invocation.check_parsing import parse_checks
from lockgate.runner.invocation.option import LOCKS, OUTPUT, POLICIES, WHO, OneOf, Option

__all__ = ["COMMANDS", "OPTIONS", "Option"]

COMMANDS = ("migrate", "wait", "status", "plan", "history", "check", "baseline", "downgrade", "unlock")


def _text(text: str) -> str:
    return text


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


def _baseline(text: str) -> str:
    if re.search(r"(?:^|@)[+-]|:|^base$", text):
        raise ValueError("not a revision that the database can be at already")
    return text


def _tables(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _destination(text: str) -> str:
    if re.match(r"(?:.*@)?[+-]", text):
        raise ValueError("counted from wherever the database is, so that a retry would go further; name a revision")
    if text in ("head", "heads") or text.endswith("@head") or ":" in text:
        raise ValueError("no place to go back to; name a revision, `base` or `<label>@base`")
    return text


def _yes(text: str) -> bool:
    return OneOf(("true", "false"))(text) == "true"


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise ValueError("not the name of an environment variable")
    return text


MIGRATE = ("migrate", "downgrade")
LEADS = (*MIGRATE, "baseline")
"""Commands that take the lock and write."""
WAIT = ("wait",)
RUNS = ("migrate", "downgrade", "wait")
GRAPH = ("migrate", "wait", "status", "plan", "check")
"""Commands that compare the database with the image's revisions."""

OF_ONE_RUN = "it differs from one run to the next"

OPTIONS: tuple[Option, ...] = (
    Option(
        "config",
        "LOCKGATE_CONFIG",
        "",
        _text,
        "Alembic's configuration: an .ini file or pyproject.toml; unset, alembic.ini and pyproject.toml are tried",
        COMMANDS,
        metavar="FILE",
    ),
    Option("section", "LOCKGATE_SECTION", "alembic", _text, "section of the .ini file", COMMANDS, metavar="NAME"),
    Option(
        "database_env",
        "LOCKGATE_DATABASE_ENV",
        "DATABASE_URL",
        _name,
        "name of the variable with the database URL; where it is not set, sqlalchemy.url of the configuration counts",
        COMMANDS,
        metavar="NAME",
    ),
    Option(
        "destination",
        "LOCKGATE_DESTINATION",
        "",
        _destination,
        "the revision to go back to, `base`, or `<label>@base`",
        ("downgrade",),
        metavar="REVISION",
        never_in_file="what is undone is for each call to say",
        positional=True,
    ),
    Option(
        "target",
        "LOCKGATE_TARGET",
        "heads",
        _target,
        "revision, label (`expand@head`) or `heads`",
        GRAPH,
        metavar="REVISION",
    ),
    Option(
        "args",
        "LOCKGATE_ARGS",
        "{}",
        _arguments,
        "what env.py reads by get_x_argument(), as a JSON object (alembic -x key=value)",
        (*GRAPH, "downgrade", "baseline"),
        metavar="JSON",
        toml=dict,
    ),
    Option(
        "adopted",
        "LOCKGATE_ADOPTED",
        "",
        _baseline,
        "the revision whose tables are in the database; several with commas",
        ("baseline",),
        metavar="BASELINE",
        never_in_file="what a database is taken for is for each call to say",
        positional=True,
    ),
    Option(
        "baseline",
        "LOCKGATE_BASELINE",
        "",
        _baseline,
        "revision at which a schema without a version table is taken to be, if all tables of that revision are there",
        ("migrate",),
        metavar="REVISION",
    ),
    Option(
        "baseline_tables",
        "LOCKGATE_BASELINE_TABLES",
        "",
        _tables,
        "tables ([schema.]name, with commas) that have to be there for that, instead of those that the revisions make",
        ("migrate", "baseline"),
        metavar="TABLES",
    ),
    Option(
        "revision",
        "LOCKGATE_REVISION",
        "",
        _text,
        "wait for this revision, without reading the image's revision files",
        WAIT,
        metavar="REVISION",
        never_in_file="what to wait for is for each call to say",
    ),
    Option(
        "version_table",
        "LOCKGATE_VERSION_TABLE",
        "",
        _text,
        "[schema.]name of Alembic's version table, where env.py sets another one",
        ("wait", "status", "plan", "check", "unlock"),
        metavar="TABLE",
    ),
    Option(
        "lock_wait",
        "LOCKGATE_LOCK_WAIT",
        "15m",
        parse_duration,
        "how long to wait while another process migrates this database",
        LEADS,
        LOCKS,
        metavar="DURATION",
    ),
    Option(
        "run_timeout",
        "LOCKGATE_RUN_TIMEOUT",
        "1h",
        parse_duration,
        "how long the whole run may take; 0s: no limit",
        LEADS,
        LOCKS,
        metavar="DURATION",
    ),
    Option(
        "ddl_lock_timeout",
        "LOCKGATE_DDL_LOCK_TIMEOUT",
        "500ms",
        parse_duration,
        "how long a statement may wait for a lock, and so make others wait behind it; 0s: no limit",
        LEADS,
        LOCKS,
        metavar="DURATION",
    ),
    Option(
        "ddl_lock_attempts",
        "LOCKGATE_DDL_LOCK_ATTEMPTS",
        "40",
        _count,
        "attempts while other sessions hold what a revision needs",
        LEADS,
        LOCKS,
        metavar="NUMBER",
        toml=int,
    ),
    Option(
        "statement_timeout",
        "LOCKGATE_STATEMENT_TIMEOUT",
        "0s",
        parse_duration,
        "how long one statement may run; 0s: no limit",
        LEADS,
        LOCKS,
        metavar="DURATION",
    ),
    Option(
        "timeout",
        "LOCKGATE_TIMEOUT",
        "10m",
        parse_duration,
        "how long to wait; 0s: look once",
        WAIT,
        LOCKS,
        metavar="DURATION",
    ),
    Option(
        "database_ahead",
        "LOCKGATE_DATABASE_AHEAD",
        "Accept",
        OneOf(("Accept", "Block")),
        "what to do where the database contains newer revisions than this image",
        GRAPH,
        POLICIES,
        metavar="POLICY",
    ),
    Option(
        "downgrade",
        "LOCKGATE_DOWNGRADE",
        "Deny",
        OneOf(("Deny", "Allow")),
        "whether revisions may be taken back; `migrate` takes back what is ahead of this image",
        MIGRATE,
        POLICIES,
        metavar="POLICY",
        never_in_file="what may be undone is for each call to say",
    ),
    Option(
        "half_applied",
        "LOCKGATE_HALF_APPLIED",
        "Stop",
        OneOf(("Stop", "Resume")),
        "what to do with a revision that committed in the middle and did not end: say what is committed, or continue"
        " behind it",
        MIGRATE,
        POLICIES,
        metavar="POLICY",
    ),
    Option(
        "checks",
        "LOCKGATE_CHECKS",
        "[]",
        parse_checks,
        "health checks as a JSON list, as in spec.checks",
        ("migrate", "downgrade", "check"),
        POLICIES,
        metavar="JSON",
        toml=list,
    ),
    Option(
        "yes",
        "LOCKGATE_YES",
        "false",
        _yes,
        "end the session without asking",
        ("unlock",),
        POLICIES,
        switch=True,
        never_in_file="a person has to say it, each time",
    ),
    Option(
        "output",
        "LOCKGATE_OUTPUT",
        "plain",
        OneOf(("plain", "json")),
        "plain, for people, or json: one line per event, the report last",
        COMMANDS,
        OUTPUT,
        metavar="FORMAT",
    ),
    Option(
        "termination_message",
        "LOCKGATE_TERMINATION_MESSAGE",
        "",
        _text,
        "file that gets the report too, for example /dev/termination-log",
        (*RUNS, "baseline"),
        OUTPUT,
        metavar="FILE",
        never_in_file="where a container reports is for its pod to say",
    ),
    Option(
        "limit", "LOCKGATE_LIMIT", "20", _count, "how many rows to show", ("history",), OUTPUT, False, "NUMBER", int
    ),
    Option(
        "resource",
        "LOCKGATE_RESOURCE",
        "",
        _text,
        "what others see as the holder of the lock, for example <namespace>/<name>",
        (*RUNS, "baseline"),
        WHO,
        metavar="NAME",
        never_in_file=OF_ONE_RUN,
    ),
    Option(
        "image",
        "LOCKGATE_IMAGE",
        "",
        _text,
        "image, for lockgate.history",
        LEADS,
        WHO,
        metavar="NAME",
        never_in_file=OF_ONE_RUN,
    ),
    Option(
        "run",
        "LOCKGATE_RUN",
        "",
        _text,
        "id of this run, for lockgate.history",
        LEADS,
        WHO,
        metavar="ID",
        never_in_file=OF_ONE_RUN,
    ),
    Option(
        "pod",
        "LOCKGATE_POD",
        "",
        _text,
        "name of this pod, for those who wait for it and for lockgate.history",
        (*RUNS, "baseline"),
        WHO,
        metavar="NAME",
        never_in_file=OF_ONE_RUN,
    ),
)
