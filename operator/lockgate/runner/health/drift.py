"""The health check `drift`: what ``alembic check`` finds, that models and database differ.

A run enters env.py once, because importing the application is most of its time. The models can be compared only with
what has been committed, which is after that entry is over, and target_metadata is an argument that env.py gives in the
middle of itself. So this check, and nothing else, enters env.py again. What it imports is loaded already then, unless
the run took the fast path.

Nothing is written: no revision file is made, Alembic is told not to create its version table, and every session of
env.py's is read-only from its first statement on, until it goes back to its pool.
``alembic check`` itself is of no use here: it came with Alembic 1.9, and it refuses a complete database where
``depends_on`` hides a head.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from alembic.autogenerate import produce_migrations
from alembic.runtime.environment import EnvironmentContext
from alembic.util import CommandError
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from lockgate.report import CheckResult
from lockgate.runner.database.backends import backend_of, kind_of
from lockgate.runner.database.connection import is_own_thread
from lockgate.runner.database.dbapi import asking, credentials_of
from lockgate.runner.database.outcome import brief, classify, is_refused_write, where
from lockgate.runner.entry import arrival
from lockgate.runner.entry.entering import enter
from lockgate.runner.entry.read_only import forbid_writes
from lockgate.runner.entry.sessions import EnvironmentSessions
from lockgate.runner.fresh_process import LoadedTwice
from lockgate.runner.health.check_results import listed
from lockgate.runner.health.differences import Difference, describe
from lockgate.runner.invocation.checks import DriftCheck
from lockgate.runner.output.redaction import Redactor
from lockgate.runner.revisions import plan
from lockgate.runner.revisions.project import Project

__all__ = ["check_drift", "drift_message"]

_REPEATED = re.compile(r"\s*CREATE\s+(?:SCHEMA|EXTENSION)\s+IF\s+NOT\s+EXISTS\b", re.IGNORECASE)


@dataclass
class Comparison:
    """What one entry into env.py brought to light."""

    contexts: int = 0
    without_models: int = 0
    empty_models: int = 0
    ahead: bool = False
    behind: bool = False
    differences: list[Difference] = field(default_factory=list)
    error: BaseException | None = None


def check_drift(
    check: DriftCheck, project: Project, target: str, sessions: EnvironmentSessions, redact: Redactor
) -> CheckResult:
    """Enter env.py once more and compare its models with the database; raises only what another try may cure."""
    found = Comparison()
    try:
        with sessions, _read_only():
            _enter(project, target, found, redact)
    except LoadedTwice:
        raise
    except (Exception, SystemExit) as caught:  # env.py is the user's code: sys.exit() ends it too
        if not isinstance(caught, SystemExit) or caught.code:
            found.error = found.error or caught
    if found.error is not None:
        known = classify(found.error)
        # As for every check: a lost connection or a lock says nothing about the schema.
        if known.retryable and not is_refused_write(found.error):
            raise known from found.error
        return CheckResult(check.name, passed=False, message=_trouble(found.error, project, sessions.failed, redact))
    if found.ahead:
        return CheckResult(check.name, passed=True, message="not compared: the database is ahead of this image")
    message = drift_message(check, found)
    return CheckResult(check.name, passed=not message, message=message)


def _enter(project: Project, target: str, found: Comparison, redact: Redactor) -> None:
    def compare(rows: tuple[str, ...], context: Any) -> tuple[()]:
        try:
            _compare(project, tuple(rows), context, found)
        except Exception as error:
            found.error = error  # env.py may swallow it
            raise
        return ()

    def configured(environment: EnvironmentContext, connection: Any = None, *args: Any, **options: Any) -> None:
        """Stand in for EnvironmentContext.configure."""
        if connection is not None:
            redact.learn(*credentials_of(connection))
            _forbid_writes(connection)
        EnvironmentContext.configure(environment, connection, *args, **options)

    enter(
        project,
        compare,
        configured,
        destination=target,
        has_begun=lambda: bool(found.contexts or found.error),
        dont_mutate=True,
    )


def _forbid_writes(connection: Any) -> None:
    """Also a connection that was open before, and the transaction in which it may be."""
    if connection.in_transaction() and connection.dialect.name == "postgresql":
        connection.execute(text("SET TRANSACTION READ ONLY"))
    else:
        with arrival.in_own_transaction(connection):
            backend_of(connection.dialect.name).forbid_writes(arrival.asking(connection))


@contextmanager
def _read_only() -> Iterator[None]:
    """Make each session read-only when env.py takes it from its pool, new or not."""

    def returned(connection: Any, record: Any) -> None:
        if connection is None or is_own_thread() or not (kind := kind_of(connection)):
            return
        try:
            backend_of(kind).allow_writes(asking(connection))
            connection.commit()
        except Exception:  # nobody is to get a session that cannot be put right
            record.invalidate()

    def repeated(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        # env.py has run this before, so it would do nothing; a read-only session refuses it all the same.
        return ("SELECT 1" if _REPEATED.match(statement) and not is_own_thread() else statement), parameters

    event.listen(Engine, "checkout", forbid_writes)
    event.listen(Engine, "checkin", returned)
    event.listen(Engine, "before_cursor_execute", repeated, retval=True)
    try:
        yield
    finally:
        event.remove(Engine, "checkout", forbid_writes)
        event.remove(Engine, "checkin", returned)
        event.remove(Engine, "before_cursor_execute", repeated)


def _compare(project: Project, rows: tuple[str, ...], context: Any, found: Comparison) -> None:
    found.contexts += 1
    metadata = context.opts.get("target_metadata")
    if metadata is None:
        found.without_models += 1
        return
    if plan.unknown_rows(rows, plan.graph(project.script)):
        found.ahead = True
        return
    if plan.pending(project.script, "heads", rows):
        found.behind = True
        return
    collections = metadata if isinstance(metadata, (list, tuple)) else (metadata,)
    found.empty_models += not any(each.tables for each in collections)
    for script in _filtered(context, rows, produce_migrations(context, metadata)):
        for operations in script.upgrade_ops_list:
            found.differences += [each for each in map(describe, operations.as_diffs()) if each.schema != "lockgate"]


def _filtered(context: Any, rows: tuple[str, ...], script: Any) -> list[Any]:
    """Let env.py's process_revision_directives take out what it does for ``alembic check`` and ``revision``."""
    directives = [script]
    hook: Callable[..., None] | None = context.opts.get("process_revision_directives")
    if hook is not None:
        hook(context, rows, directives)
    return directives


def drift_message(check: DriftCheck, found: Comparison) -> str:
    """Say what differs and is not to be ignored, or why nothing could be compared; empty where all is well."""
    if not found.contexts:
        return "nothing was compared: env.py ran no migrations over a connection"
    if found.without_models:
        return "nothing to compare with: env.py gives no target_metadata to context.configure()"
    if found.behind:
        return "not compared: the target (spec.alembic.target) is not all heads, and models can be compared only there"
    left = [each.sentence for each in found.differences if not any(_covers(entry, each) for entry in check.ignore)]
    if not left:
        return ""
    if found.empty_models:
        return "target_metadata of env.py contains no table: does env.py import the models?"
    return "models and database differ: " + listed(left)


def _covers(entry: str, difference: Difference) -> bool:
    """Return whether the entry is the table, or whole words of the sentence: `items` says nothing of items_archive."""
    if entry in (difference.table, f"{difference.schema}.{difference.table}"):
        return True
    return re.search(rf"(?<!\w){re.escape(entry)}(?!\w)", difference.sentence) is not None


def _trouble(error: BaseException, project: Project, statement: str, redact: Redactor) -> str:
    """Say why the comparison did not come to an end."""
    if is_refused_write(error):
        return (
            f"env.py writes to the database by itself, which this check does not let it do: {redact(statement)[:200]}"
        )
    said = str(error).splitlines()[0] if isinstance(error, CommandError) and str(error) else brief(error)
    place = where(error, project.folders)
    return f"env.py failed when it was run again{f' ({place})' if place else ''}: {redact(said)[:300]}"
