"""All that can be said to a command of `lockgate`: one table, from which flags, variables and help come. Pure."""

from __future__ import annotations

import json
import re

from lockgate.runner.durations import parse_duration
from lockgate.runner.invocation.check_parsing import parse_checks
from lockgate.runner.invocation.option import LOCKS, OUTPUT, POLICIES, WHO, OneOf, Option

__all__ = ["COMMANDS", "DATABASE_ENV", "OPTIONS"]

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


def _refuse_relative(text: str) -> None:
    if re.match(r"(?:.*@)?[+-]", text):
        raise ValueError("counted from wherever the database is, so that a retry would go further; name a revision")


def _target(text: str) -> str:
    _refuse_relative(text)
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
    _refuse_relative(text)
    if text in ("head", "heads") or text.endswith("@head") or ":" in text:
        raise ValueError("no place to go back to; name a revision, `base` or `<label>@base`")
    return text


def _yes(text: str) -> bool:
    return OneOf(("true", "false"))(text) == "true"


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise ValueError("not the name of an environment variable")
    return text


STEPS = ("migrate", "downgrade")
"""Commands that run revisions."""
LEADS = (*STEPS, "baseline")
"""Commands that take the lock and write."""
WAIT = ("wait",)
PODS = (*LEADS, *WAIT)
"""Commands that run in pods of the operator, which say who they are and leave a termination message."""
GRAPH = ("migrate", "wait", "status", "plan", "check")
"""Commands that compare the database with the image's revisions."""

DATABASE_ENV = "DATABASE_URL"
"""The variable with the database URL, where nobody names another one."""

OF_ONE_RUN = "it differs from one run to the next"

OPTIONS: tuple[Option, ...] = (
    Option(
        "config",
        "",
        _text,
        "Alembic's configuration: an .ini file or pyproject.toml; unset, alembic.ini and pyproject.toml are tried",
        COMMANDS,
        metavar="FILE",
    ),
    Option("section", "alembic", _text, "section of the .ini file", COMMANDS, metavar="NAME"),
    Option(
        "database_env",
        DATABASE_ENV,
        _name,
        "name of the variable with the database URL; where it is not set, sqlalchemy.url of the configuration counts",
        COMMANDS,
        metavar="NAME",
    ),
    Option(
        "connect",
        "Auto",
        OneOf(("Auto", "Url", "Environment")),
        "how Lockgate's own sessions connect: by the URL; as env.py's engine does, for which env.py is entered first;"
        " or by the URL unless env.py names a way of its own or the URL does not lead there",
        COMMANDS,
        metavar="WAY",
    ),
    Option(
        "destination",
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
        "heads",
        _target,
        "revision, label (`expand@head`) or `heads`",
        GRAPH,
        metavar="REVISION",
    ),
    Option(
        "args",
        "{}",
        _arguments,
        "what env.py reads by get_x_argument(), as a JSON object (alembic -x key=value)",
        (*GRAPH, "downgrade", "baseline"),
        metavar="JSON",
        toml=dict,
    ),
    Option(
        "adopted",
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
        "",
        _baseline,
        "revision at which a schema without a version table is taken to be, if all tables of that revision are there",
        ("migrate",),
        metavar="REVISION",
    ),
    Option(
        "baseline_tables",
        "",
        _tables,
        "tables ([schema.]name, with commas) that have to be there for that, instead of those that the revisions make",
        ("migrate", "baseline"),
        metavar="TABLES",
    ),
    Option(
        "revision",
        "",
        _text,
        "wait for this revision, without reading the image's revision files",
        WAIT,
        metavar="REVISION",
        never_in_file="what to wait for is for each call to say",
    ),
    Option(
        "version_table",
        "",
        _text,
        "[schema.]name of Alembic's version table, where env.py sets another one",
        ("wait", "status", "plan", "check", "unlock"),
        metavar="TABLE",
    ),
    Option(
        "lock_wait",
        "15m",
        parse_duration,
        "how long to wait while another process migrates this database",
        LEADS,
        LOCKS,
        metavar="DURATION",
    ),
    Option(
        "run_timeout",
        "1h",
        parse_duration,
        "how long the whole run may take; 0s: no limit",
        LEADS,
        LOCKS,
        metavar="DURATION",
    ),
    Option(
        "ddl_lock_timeout",
        "500ms",
        parse_duration,
        "how long a statement may wait for a lock, and so make others wait behind it; 0s: no limit",
        LEADS,
        LOCKS,
        metavar="DURATION",
    ),
    Option(
        "ddl_lock_attempts",
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
        "0s",
        parse_duration,
        "how long one statement may run; 0s: no limit",
        LEADS,
        LOCKS,
        metavar="DURATION",
    ),
    Option(
        "timeout",
        "10m",
        parse_duration,
        "how long to wait; 0s: look once",
        WAIT,
        LOCKS,
        metavar="DURATION",
    ),
    Option(
        "database_ahead",
        "Accept",
        OneOf(("Accept", "Block")),
        "what to do where the database contains newer revisions than this image",
        GRAPH,
        POLICIES,
        metavar="POLICY",
    ),
    Option(
        "downgrade",
        "Deny",
        OneOf(("Deny", "Allow")),
        "whether revisions may be taken back; `migrate` takes back what is ahead of this image",
        STEPS,
        POLICIES,
        metavar="POLICY",
        never_in_file="what may be undone is for each call to say",
    ),
    Option(
        "half_applied",
        "Stop",
        OneOf(("Stop", "Resume")),
        "what to do with a revision that committed in the middle and did not end: say what is committed, or continue"
        " behind it",
        STEPS,
        POLICIES,
        metavar="POLICY",
    ),
    Option(
        "fast_path",
        "Auto",
        OneOf(("Auto", "Never")),
        "whether a run may end without env.py where one with the same input succeeded; Never: it always enters env.py",
        ("migrate",),
        POLICIES,
        metavar="POLICY",
    ),
    Option(
        "transactions",
        "Auto",
        OneOf(("Auto", "PerRevision", "AsEnvironment")),
        "one transaction for each revision, or those of env.py, as Alembic has them; Auto: one for each revision where"
        " that ends with the same database",
        (*STEPS, "plan"),
        POLICIES,
        metavar="HOW",
    ),
    Option(
        "checks",
        "[]",
        parse_checks,
        "health checks as a JSON list, as in spec.checks",
        (*STEPS, "check"),
        POLICIES,
        metavar="JSON",
        toml=list,
    ),
    Option(
        "yes",
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
        "plain",
        OneOf(("plain", "json")),
        "plain, for people, or json: one line per event, the report last",
        COMMANDS,
        OUTPUT,
        metavar="FORMAT",
    ),
    Option(
        "termination_message",
        "",
        _text,
        "file that gets the report too, for example /dev/termination-log",
        PODS,
        OUTPUT,
        metavar="FILE",
        never_in_file="where a container reports is for its pod to say",
    ),
    Option(
        "limit",
        "20",
        _count,
        "how many rows to show",
        ("history",),
        OUTPUT,
        metavar="NUMBER",
        toml=int,
    ),
    Option(
        "resource",
        "",
        _text,
        "what others see as the holder of the lock, for example <namespace>/<name>",
        PODS,
        WHO,
        metavar="NAME",
        never_in_file=OF_ONE_RUN,
    ),
    Option(
        "image",
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
        "",
        _text,
        "name of this pod, for those who wait for it and for lockgate.history",
        PODS,
        WHO,
        metavar="NAME",
        never_in_file=OF_ONE_RUN,
    ),
)
