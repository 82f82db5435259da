"""Why an entry into env.py did not end well, in words for the report. Pure."""

from __future__ import annotations

from collections.abc import Collection

from lockgate.errors import (
    DatabaseBusy,
    DatabaseReadOnly,
    HalfApplied,
    InvalidRevisions,
    LockBusy,
    LockgateError,
    MigrationFailed,
    NoProgress,
)
from lockgate.report import Failure
from lockgate.runner.database import outcome
from lockgate.runner.entry.env_transactions import AS_ENVIRONMENT, Choice
from lockgate.runner.entry.environment import EnvironmentEntry
from lockgate.runner.entry.seen import Seen
from lockgate.runner.entry.sessions import SelfBlock
from lockgate.runner.ledger.committed import is_repeatable
from lockgate.runner.ledger.half_applied import done_word, listing, way_out
from lockgate.runner.ledger.index_work import index_work
from lockgate.runner.ledger.resumption import is_harmless
from lockgate.runner.migration.advice import advice_on
from lockgate.runner.records.statements import shortened
from lockgate.runner.revisions.project import Project
from lockgate.runner.wording import sentence

__all__ = ["cause_of", "ends_run", "error_of", "failure_of", "half_applied", "is_half_applied"]

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
    if isinstance(error, DatabaseBusy) and entry.self_block is not None:
        return _blocks_itself(entry, entry.self_block)
    if not isinstance(error, MigrationFailed) or isinstance(error, NoProgress):
        return error
    return MigrationFailed(
        sentence(f"{_headline(entry, cause, project)}: {outcome.brief(cause)}"), advice=advice_on(entry, cause, error)
    )


def _blocks_itself(entry: EnvironmentEntry, block: SelfBlock) -> MigrationFailed:
    """Say which session of the run waits for which: no other try would end otherwise."""
    where = f"Revision {entry.failed_revision}" if entry.failed_revision else "env.py"
    whole = any(seen.choice == Choice(AS_ENVIRONMENT) for seen in entry.seen)
    advice = "Let it use the connection that env.py migrates over (op.get_bind()) in place of a session of its own."
    return MigrationFailed(
        f"{where} waits for itself: its session with pid {block.waiter} needs a lock that a session of this very run"
        f" holds, and will hold until the revision ends: {block.waiting_for}.",
        advice=advice + (" An earlier revision's lock is free with --transactions PerRevision." if whole else ""),
    )


def is_half_applied(seen: Seen, found: Collection[str] | None) -> bool:
    """Say whether a revision committed something before its end, and the version table does not know of that end.

    ``found``: its rows, None where they are not known. What the next try does again, or leaves out because the
    catalogue says that it is done, does not count.
    """
    if found is not None and (seen.part.revision in found) == (seen.part.direction == "upgrade"):
        return False
    harmless = is_harmless if seen.recorded else is_repeatable
    return not all(harmless(row.text) for row in seen.left)


def ends_run(seen: Seen, found: Collection[str] | None, error: LockgateError | None) -> bool:
    """Say whether a half-applied revision is a matter for a person: no other try may, or could, continue it."""
    continues = seen.resumes and seen.recorded and error is not None and error.retryable
    return is_half_applied(seen, found) and not continues


def half_applied(seen: Seen, cause: BaseException, found: Collection[str] | None, project: Project) -> HalfApplied:
    """Return what a person has to know of it; ``found``: rows of the version table, None where nobody could read it."""
    place = "" if isinstance(cause, LockgateError) else outcome.where(cause, project.folders)
    ended = f"it failed{f' at {place}' if place else ''}: {outcome.brief(cause).rstrip('.')}"
    says = ", ".join(found if found is not None else seen.rows) or "base"
    unsure = (
        " The connection was lost in a COMMIT: perhaps the last of them are not committed." if seen.uncertain else ""
    )
    return HalfApplied(
        f"Revision {seen.part.revision} is half {done_word(seen.part)}: {ended}."
        f" Committed before that: {listing(seen.left)}.{unsure} {seen.arrival.table} still says {says}.",
        advice="It is not repeated by itself. " + way_out(seen.part, seen.left, recorded=seen.recorded),
    )


def _headline(entry: EnvironmentEntry, cause: BaseException, project: Project) -> str:
    place = outcome.where(cause, project.folders)
    at = f" at {place}" if place else ""
    if entry.failed_revision:
        failed = [seen for seen in entry.seen if seen.step and seen.step.revision.revision == entry.failed_revision]
        return f"Revision {entry.failed_revision} failed{at}{_undone(entry, failed)}"
    return f"env.py failed{at}"


def _undone(entry: EnvironmentEntry, failed: list[Seen]) -> str:
    """Say what is known to be undone of a revision that failed; nothing where nothing is known."""
    if any(seen.left for seen in failed):
        return "; only work that can be repeated stays"
    if index_work(entry.failed_statement) is not None or not all(seen.is_rolled_back for seen in failed):
        return ""
    return " and its transaction was rolled back"


def failure_of(
    entry: EnvironmentEntry, cause: BaseException | None, error: LockgateError | None, project: Project
) -> Failure | None:
    """Say exactly at which revision and statement the entry ended."""
    if cause is None or isinstance(error, _NO_REVISION):
        return None
    state = outcome.code_of(cause)
    place = outcome.where(cause, project.folders)
    said = outcome.brief(cause) + (f" ({place})" if place else "")
    committed = next((seen.left for seen in entry.seen if seen.left), ()) if isinstance(error, HalfApplied) else ()
    return Failure(
        entry.failed_revision,
        entry.failed_statement if state else "",
        state,
        said,
        tuple(shortened(row.text) for row in committed[:50]),
    )
