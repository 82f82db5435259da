"""The attempts of one run: enter env.py, look at what it did over another connection, decide, perhaps enter again.

Committed revisions stay: every attempt continues behind the last of them. What is retried is the whole revision: a
retry of one statement inside its transaction would keep the locks of all statements before it for the whole time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import NamedTuple

from lockgate.errors import DatabaseBusy, DatabaseUnreachable, HalfApplied, LockgateError, MigrationFailed, NoProgress
from lockgate.runner.database import outcome
from lockgate.runner.entry.environment import EnvironmentEntry
from lockgate.runner.fresh_process import LoadedTwice
from lockgate.runner.interruption import Interruption, StopRequested
from lockgate.runner.migration.account import Account, settle
from lockgate.runner.migration.attempts import backoff
from lockgate.runner.migration.diagnosis import cause_of, ends_run, error_of, failure_of, half_applied
from lockgate.runner.migration.verification import VersionTables
from lockgate.runner.output.progress import Narrator
from lockgate.runner.revisions.project import Project
from lockgate.runner.wording import counted

__all__ = ["judge", "migrate"]


class Verdict(NamedTuple):
    """What to do after one entry into env.py."""

    done: bool = False
    error: LockgateError | None = None
    retry: bool = False


def judge(*, error: LockgateError | None, pending: int, configured: bool) -> Verdict:
    """Decide from what an entry raised, and what is still pending."""
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
    return Verdict(
        error=NoProgress(
            f"env.py ended without an error, yet {counted(pending, 'revision')} {'is' if pending == 1 else 'are'}"
            " still pending.",
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
        account.is_complete = False
        verdict = _attempt(project, enter(), tables, account, interruption)
        if verdict.done:
            return
        if not verdict.retry:
            raise verdict.error or MigrationFailed("The migration did not end.")
        error = verdict.error
        assert error is not None  # noqa: S101  # only errors are retried
        if account.attempts >= attempts:
            raise _used_up(error, account.attempts, narrator.progress.waiting_for)
        pause = backoff(account.attempts, random.uniform)
        account.attempts += 1
        narrator.tell(
            "retrying",
            f"attempt {account.attempts} of {attempts} in {pause:.1f}s: {error.message}",
            attempt=account.attempts,
            statement="",
            waiting_for=narrator.progress.waiting_for or error.message,
        )
        time.sleep(pause)
        project.forget_modules()


def _used_up(error: LockgateError, attempts: int, waited_for: str) -> LockgateError:
    """Return the error of the last attempt, with whom that waited for where somebody saw it."""
    seen = f" It waited for {waited_for}." if waited_for and isinstance(error, DatabaseBusy) else ""
    return type(error)(f"{error.message} Tried {attempts} times.{seen}", advice=error.advice or _ADVICE)


_ADVICE = (
    "Let that transaction end, or end it (pg_stat_activity has who it is and xact_start), and start another run; or let"
    " a run try more often: --ddl-lock-attempts, spec.retry.ddlLockAttempts."
)


def _attempt(
    project: Project, entry: EnvironmentEntry, tables: VersionTables, account: Account, interruption: Interruption
) -> Verdict:
    raised: BaseException | None = None
    try:
        entry.run()
    except (Exception, SystemExit, StopRequested) as caught:  # env.py is the user's code: sys.exit() ends it too
        raised = None if isinstance(caught, SystemExit) and not caught.code else caught
    if isinstance(raised, LoadedTwice):
        raise raised
    try:
        rows = _rows(project, entry, tables, raised, interruption)
    except DatabaseUnreachable:
        account.keep_unsettled(entry)  # the run begins again, and looks then
        raise
    interruption.check()
    pending = settle(entry, account, rows)
    ran = any(seen.ran for seen in entry.seen)
    cause = cause_of(entry, raised, as_planned=ran and pending == 0)
    error = error_of(entry, cause, project)
    for seen, found in zip(entry.seen, rows, strict=True):
        if cause is not None and ends_run(seen, found, error) and not isinstance(error, HalfApplied):
            error = half_applied(seen, cause, found, project)
    account.failure = failure_of(entry, cause, error, project)
    verdict = judge(error=error, pending=pending, configured=ran)
    account.is_complete |= verdict.done and all(seen.ran for seen in entry.seen)
    return verdict


def _rows(
    project: Project,
    entry: EnvironmentEntry,
    tables: VersionTables,
    raised: BaseException | None,
    interruption: Interruption,
) -> list[tuple[str, ...]]:
    """Read the version tables over a connection that is not env.py's: its exit proves nothing.

    A half-applied revision ends the run also where nobody can read them, or where the run was told to end: another pod
    that knows nothing would do a part of it twice.
    """
    error = interruption.cause or (outcome.classify(raised) if raised else None)
    halves = [seen for seen in entry.seen if ends_run(seen, None, error)]
    if not halves:
        interruption.check()
    try:
        rows = [tables.rows(seen.arrival) for seen in entry.seen]
    except Exception as lost:
        if halves:
            raise half_applied(halves[0], raised or lost, None, project) from lost
        raise
    if interruption.cause is not None:
        for seen, found in zip(entry.seen, rows, strict=True):
            if ends_run(seen, found, interruption.cause):
                interruption.cause = half_applied(seen, interruption.cause, found, project)
    return rows
