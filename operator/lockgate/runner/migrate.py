"""The attempts of one run: enter env.py, look at what it did over another connection, decide, perhaps enter again.

Committed revisions stay: every attempt continues behind the last of them. What is retried is the whole revision: a
retry of one statement inside its transaction would keep the locks of all statements before it for the whole time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lockgate.errors import (
    DatabaseBusy,
    DatabaseReadOnly,
    DatabaseUnreachable,
    InvalidRevisions,
    LockBusy,
    LockgateError,
    MigrationFailed,
    NoProgress,
)
from lockgate.report import Applied, Failure
from lockgate.runner import outcome, plan
from lockgate.runner.environment import EnvironmentEntry, Seen
from lockgate.runner.interruption import Interruption, StopRequested
from lockgate.runner.progress import Narrator
from lockgate.runner.project import Project
from lockgate.runner.verification import VersionTables

__all__ = ["Account", "backoff", "judge", "migrate"]

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0


@dataclass
class Account:
    """What a run has done so far, also when it ends badly."""

    current: tuple[str, ...] = ()
    reached: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    pending: int = 0
    applied: list[Applied] = field(default_factory=list)
    revisions: set[str] = field(default_factory=set)
    failure: Failure | None = None
    attempts: int = 1
    is_ahead: bool = False
    tables: tuple[tuple[str, str, str], ...] = ()
    """(database, schema, table) of all version tables that env.py configured."""


@dataclass(frozen=True)
class Verdict:
    """What to do after one entry into env.py."""

    done: bool = False
    error: LockgateError | None = None
    retry: bool = False
    counts: bool = True
    """Whether another entry is another attempt, or only env.py's way to commit one revision at a time."""


def backoff(attempt: int, uniform: Callable[[float, float], float]) -> float:
    """Return the seconds to pause after an attempt: 0.1, growing by 1.6, at most 10, with jitter."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 1.6 ** min(attempt - 1, 20)) * uniform(0.5, 1.0)


def judge(*, error: LockgateError | None, pending: int, moved: bool, more: bool, configured: bool) -> Verdict:
    """Decide from what an entry raised, what is still pending, and whether any version table moved."""
    if error is not None:
        transient = isinstance(error, (DatabaseBusy, DatabaseUnreachable))
        return Verdict(error=error, retry=transient)
    if not configured:
        return Verdict(
            error=NoProgress(
                "env.py ended without running any migration over a connection.",
                advice="It has to call context.configure(connection=...) and context.run_migrations() in online mode.",
            )
        )
    if pending == 0:
        return Verdict(done=True)
    if more and moved:
        return Verdict(retry=True, counts=False)
    return Verdict(
        error=NoProgress(
            f"env.py ended without an error, yet {pending} revision(s) are still pending.",
            advice="Does env.py commit what it begins, and does it let errors through?",
        )
    )


def migrate(
    *,
    project: Project,
    enter: Callable[[], EnvironmentEntry],
    tables: VersionTables,
    account: Account,
    attempts: int,
    interruption: Interruption,
    narrator: Narrator,
) -> None:
    """Bring the database to the target, filling ``account`` on the way; raises an error of our tree where it cannot."""
    while True:
        verdict = _attempt(project, enter(), tables, account, interruption)
        if verdict.done:
            return
        if not verdict.retry:
            raise verdict.error or MigrationFailed("The migration did not end.")
        if not verdict.counts:
            continue
        error = verdict.error
        assert error is not None  # noqa: S101  # only errors count as attempts
        if account.attempts >= attempts:
            raise type(error)(f"{error.message} Tried {account.attempts} times.", advice=error.advice or _ADVICE)
        pause = backoff(account.attempts, random.uniform)
        account.attempts += 1
        narrator.tell(
            "retrying",
            f"attempt {account.attempts} of {attempts} in {pause:.1f}s: {error.message}",
            attempt=account.attempts,
            statement="",
        )
        time.sleep(pause)


_ADVICE = "See which sessions hold locks for long (pg_stat_activity, xact_start), or raise retry.ddlLockAttempts."


def _attempt(
    project: Project, entry: EnvironmentEntry, tables: VersionTables, account: Account, interruption: Interruption
) -> Verdict:
    raised: BaseException | None = None
    try:
        entry.run()
    except (Exception, SystemExit, StopRequested) as caught:  # env.py is the user's code: sys.exit() ends it too
        raised = caught
    interruption.check()
    rows = _verify(entry, tables)
    pending = _settle(project, entry, account, rows)
    error = _error(entry, raised, project) if raised or pending or not entry.seen else None
    account.failure = _failure(entry, raised, project) if error and not isinstance(error, _NO_REVISION) else None
    moved = any(rows[index] != tuple(sorted(seen.rows)) for index, seen in enumerate(entry.seen))
    ran = any(seen.ran for seen in entry.seen)
    return judge(error=error, pending=pending, moved=moved, more=entry.more, configured=ran)


_NO_REVISION = (InvalidRevisions, LockBusy, DatabaseReadOnly)


def _verify(entry: EnvironmentEntry, tables: VersionTables) -> list[tuple[str, ...]]:
    """Read every version table that env.py configured, over a connection that is not env.py's."""
    return [tables.rows(seen.arrival) for seen in entry.seen]


def _settle(project: Project, entry: EnvironmentEntry, account: Account, rows: list[tuple[str, ...]]) -> int:
    """Enter into the account what is really in the database now; return how many revisions are pending."""
    if not entry.seen:
        return 0
    if not account.tables:
        account.current = _union(seen.rows for seen in entry.seen)
    account.tables = tuple(sorted({_identity(seen) for seen in entry.seen}))
    account.is_ahead = any(seen.is_ahead for seen in entry.seen)
    account.target = _union(seen.target for seen in entry.seen)
    account.reached = _union(rows)
    account.pending = 0
    for seen, found in zip(entry.seen, rows, strict=True):
        contained = plan.ancestors(found, entry.graph if seen.ran else {}, seen.arrival.lineage)
        account.revisions |= contained
        account.applied += [step for step in seen.done if step.revision in contained]
        if seen.ran and not plan.unknown_rows(found, entry.graph):
            account.pending += len(plan.pending(project.script, entry.target, found))
    return account.pending


def _identity(seen: Seen) -> tuple[str, str, str]:
    return seen.arrival.fingerprint, seen.arrival.schema, seen.arrival.table


def _union(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({row for group in groups for row in group}))


def _error(entry: EnvironmentEntry, raised: BaseException | None, project: Project) -> LockgateError | None:
    """Return what went wrong: what Lockgate refused, what a revision raised, what came out of env.py, in this order."""
    if entry.refusal is not None:
        return entry.refusal
    cause = entry.failure or raised or entry.swallowed
    if cause is None:
        return None
    error = outcome.classify(cause)
    if not isinstance(error, MigrationFailed) or isinstance(error, NoProgress):
        return error
    return MigrationFailed(
        f"{_headline(entry, cause, project)}: {outcome.brief(cause)}.", advice=_hint(entry, cause, error)
    )


def _headline(entry: EnvironmentEntry, cause: BaseException, project: Project) -> str:
    place = outcome.where(cause, project.folders)
    at = f" at {place}" if place else ""
    if entry.failed_revision:
        return f"Revision {entry.failed_revision} failed{at} and was rolled back"
    return f"env.py failed{at}"


def _hint(entry: EnvironmentEntry, cause: BaseException, error: LockgateError) -> str:
    if isinstance(cause, AssertionError) and any(seen.arrival.in_transaction for seen in entry.seen):
        return "autocommit_block() needs env.py not to begin a transaction before context.configure()."
    return error.advice or "Correct the revision or the data; what was committed before it stays."


def _failure(entry: EnvironmentEntry, raised: BaseException | None, project: Project) -> Failure | None:
    cause = entry.failure or raised or entry.swallowed
    if cause is None:
        return None
    state = outcome.sqlstate_of(cause)
    place = outcome.where(cause, project.folders)
    error = outcome.brief(cause) + (f" ({place})" if place else "")
    return Failure(entry.failed_revision, entry.failed_statement if state else "", state, error)
