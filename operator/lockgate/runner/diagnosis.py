"""Why an entry into env.py did not end well, in words for the report. Pure."""

from __future__ import annotations

from lockgate.errors import DatabaseReadOnly, InvalidRevisions, LockBusy, LockgateError, MigrationFailed, NoProgress
from lockgate.report import Failure
from lockgate.runner import outcome
from lockgate.runner.environment import EnvironmentEntry
from lockgate.runner.project import Project

__all__ = ["cause_of", "error_of", "failure_of"]

_NO_REVISION = (InvalidRevisions, LockBusy, DatabaseReadOnly)
"""Errors that are no matter of one revision."""


def cause_of(entry: EnvironmentEntry, raised: BaseException | None, *, as_planned: bool) -> BaseException | None:
    """Return what went wrong: what Lockgate refused, what a revision raised, what came out of env.py, in this order.

    Errors that env.py or a revision caught count only where the result shows that they mattered. What Lockgate refused
    always counts: that version table may not even be among those seen.
    """
    if raised is None and as_planned and entry.refusal is None:
        return None
    return entry.refusal or entry.failure or raised or entry.swallowed


def error_of(entry: EnvironmentEntry, cause: BaseException | None, project: Project) -> LockgateError | None:
    """Return the error of our tree, with what to do."""
    if cause is None:
        return None
    error = outcome.classify(cause)
    if error is entry.refusal:
        return error
    if not isinstance(error, MigrationFailed) or isinstance(error, NoProgress):
        return error
    return MigrationFailed(
        f"{_headline(entry, cause, project)}: {outcome.brief(cause)}.", advice=_hint(entry, cause, error)
    )


def _headline(entry: EnvironmentEntry, cause: BaseException, project: Project) -> str:
    place = outcome.where(cause, project.folders)
    at = f" at {place}" if place else ""
    if entry.failed_revision:
        if entry.committed_within:
            return f"Revision {entry.failed_revision} failed{at}; what it did up to its autocommit block stays"
        return f"Revision {entry.failed_revision} failed{at} and was rolled back"
    return f"env.py failed{at}"


def _hint(entry: EnvironmentEntry, cause: BaseException, error: LockgateError) -> str:
    if isinstance(cause, AssertionError) and any(seen.arrival.in_transaction for seen in entry.seen):
        return "autocommit_block() needs env.py not to begin a transaction before context.configure()."
    if outcome.sqlstate_of(cause) == "42P07":
        return "Something of that name is there: perhaps an invalid index of an earlier try? Drop it CONCURRENTLY."
    return error.advice or "Correct the revision or the data; what was committed before it stays."


def failure_of(
    entry: EnvironmentEntry, cause: BaseException | None, error: LockgateError | None, project: Project
) -> Failure | None:
    """Say exactly at which revision and statement the entry ended."""
    if cause is None or isinstance(error, _NO_REVISION):
        return None
    state = outcome.sqlstate_of(cause)
    place = outcome.where(cause, project.folders)
    said = outcome.brief(cause) + (f" ({place})" if place else "")
    return Failure(entry.failed_revision, entry.failed_statement if state else "", state, said)
