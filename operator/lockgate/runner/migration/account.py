"""What a run has done so far, as found in the database: kept also when the run ends badly."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from lockgate.errors import LockgateError
from lockgate.report import Applied, CheckResult, Failure, ImageTarget, Report
from lockgate.runner.entry.env_transactions import AS_ENVIRONMENT, PER_REVISION
from lockgate.runner.output.publication import report_of
from lockgate.runner.revisions import plan
from lockgate.runner.wording import counted

if TYPE_CHECKING:
    from lockgate.runner.entry.environment import EnvironmentEntry
    from lockgate.runner.entry.seen import Seen

__all__ = ["Account", "Adopted", "run_report", "settle"]


class Adopted(NamedTuple):
    """What was written into the version table."""

    revisions: tuple[str, ...]
    tables: int

    def __str__(self) -> str:
        tables = "its table is" if self.tables == 1 else f"all of its {self.tables} tables are"
        return f"Took the schema for {', '.join(self.revisions)}: {tables} there."


@dataclass
class Account:
    """What a run has done so far, also when it ends badly."""

    current: tuple[str, ...] = ()
    has_begun: bool = False
    """`current` is known."""
    reached: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    pending: int = 0
    applied: list[Applied] = field(default_factory=list)
    undone: list[Applied] = field(default_factory=list)
    revisions: set[str] = field(default_factory=set)
    failure: Failure | None = None
    attempts: int = 1
    is_ahead: bool = False
    ahead: tuple[str, ...] = ()
    """Where it is, what builds on the target."""
    writes_history: bool = True
    changed: tuple[str, ...] = ()
    """Applied revisions whose file in the image is not what was applied."""
    tables: tuple[tuple[str, str, str], ...] = ()
    """(database, schema, table) of all version tables that env.py configured."""
    urls: tuple[Any, ...] = ()
    """Of the engines whose connections env.py configured."""
    unsettled: list[tuple[tuple[str, str, str], Applied, bool]] = field(default_factory=list)
    """Steps that an entry has done, by version table and direction (True: up), and nobody could verify yet."""
    adopted: Adopted | None = None
    transactions: str = ""
    """In which the revisions of the last entry into env.py ran."""
    committed_inside: set[str] = field(default_factory=set)
    """Revisions that committed the transaction in which they ran."""
    looked_from_outside: set[str] = field(default_factory=set)
    """Revisions that opened a session of their own, to which others of this run were committed already."""
    database: str = ""
    """Identifies the database; empty where nobody asks."""
    images: tuple[ImageTarget, ...] = ()
    """Other images that led to what it contains."""
    known_tables: int | None = None
    """How many version tables an earlier run had; None where that is not known."""
    is_complete: bool = False
    """`revisions` are all that the database contains: every version table has been read."""

    @property
    def version_tables(self) -> tuple[str, ...]:
        """The version tables, as lockgate.history calls them."""
        return tuple(f"{schema}.{table}" for _, schema, table in self.tables)

    def begin(self, entry: EnvironmentEntry) -> None:
        """Keep the rows that the first entry has met."""
        if not self.has_begun and entry.seen:
            self.has_begun, self.current = True, _union(seen.rows for seen in entry.seen)

    def keep_unsettled(self, entry: EnvironmentEntry) -> None:
        """Keep what an entry has done until the version tables can be read again, and where it began."""
        self.begin(entry)
        for seen in entry.seen:
            for steps, upward in ((seen.done, True), (seen.undone, False)):
                self.unsettled += [(_identity(seen), step, upward) for step in steps]

    def settle_kept(self, contained: Collection[str], table: tuple[str, str, str] | None = None) -> None:
        """Enter what was kept of a version table, or of the only one, as far as the database has it now."""
        for kept in [kept for kept in self.unsettled if table in (None, kept[0])]:
            self.unsettled.remove(kept)
            _, step, upward = kept
            if (step.revision in contained) == upward:
                (self.applied if upward else self.undone).append(step)

    def adopt(self, adopted: Adopted) -> None:
        """Take note that the version was written, and nothing applied."""
        self.adopted = adopted
        self.applied.clear()


def settle(entry: EnvironmentEntry, account: Account, rows: list[tuple[str, ...]]) -> int:
    """Enter into the account what is really in the database now; return how many revisions are pending."""
    if not entry.seen:
        return 0
    account.begin(entry)
    account.tables = tuple(sorted({_identity(seen) for seen in entry.seen}))
    account.urls = tuple(seen.arrival.engine.url for seen in entry.seen)
    account.is_ahead = any(seen.is_ahead for seen in entry.seen)
    account.ahead = _union(seen.ahead for seen in entry.seen)
    account.writes_history = all(seen.arrival.writes_history and not seen.unrecorded for seen in entry.seen)
    account.changed = _union(seen.changed for seen in entry.seen)
    account.transactions = next((name for name in (AS_ENVIRONMENT, PER_REVISION) if name in _used(entry)), "")
    account.target = _union(seen.target for seen in entry.seen)
    account.reached = _union(rows)
    account.pending = 0
    # Where it failed, env.py may not have come to its other version tables.
    known = account.known_tables
    account.is_complete = all(seen.ran for seen in entry.seen) and known is not None and len(account.tables) >= known
    if not entry.course.upward:
        account.revisions.clear()
    for seen, found in zip(entry.seen, rows, strict=True):
        contained = plan.ancestors(found, entry.course.graph if seen.ran else {}, seen.arrival.lineage)
        seen.return_to_half(contained)
        account.revisions |= contained
        account.looked_from_outside |= contained.intersection(seen.looked_from_outside)
        account.settle_kept(contained, _identity(seen))
        account.committed_inside |= contained.intersection(seen.committed_inside)
        account.applied += [step for step in seen.done if step.revision in contained]
        account.undone += [step for step in seen.undone if step.revision not in contained]
        account.pending += entry.course.left(seen, found)
    return account.pending


def _identity(seen: Seen) -> tuple[str, str, str]:
    return seen.arrival.fingerprint, seen.arrival.schema, seen.arrival.table


def _used(entry: EnvironmentEntry) -> set[str]:
    return {seen.choice.transactions for seen in entry.seen}


def _union(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({row for group in groups for row in group}))


def run_report(
    account: Account,
    *,
    reason: str,
    error: LockgateError | None,
    checks: tuple[CheckResult, ...],
    warnings: tuple[str, ...],
    lock_wait: float,
    seconds: float,
) -> Report:
    """Tell what happened: ``reason`` of a success, or the ``error``."""
    return report_of(
        error,
        reason=reason,
        message=_sentence(reason, account),
        current=account.current,
        reached=account.reached,
        target=account.target,
        pending=account.pending,
        applied=tuple(account.applied),
        ahead=account.ahead,
        undone=tuple(account.undone),
        failure=account.failure if error else None,
        checks=checks,
        revisions=tuple(sorted(account.revisions)),
        database=account.database,
        complete=account.is_complete,
        images=account.images,
        lock_wait_seconds=round(lock_wait, 3),
        seconds=round(seconds, 3),
        attempts=account.attempts,
        transactions=account.transactions,
        warnings=(*warnings, *_adoption(account, reason), *_changes(account), *_commits(account), *_outside(account)),
    )


def _adoption(account: Account, reason: str) -> tuple[str, ...]:
    return (str(account.adopted),) if account.adopted and reason != "Adopted" else ()


def _changes(account: Account) -> tuple[str, ...]:
    """Warn of revisions that were edited after they were applied: no database that has them will ever run the edit."""
    names = account.changed
    if not names:
        return ()
    listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return (
        f"Changed after being applied: {listed}. This database has what lockgate.history keeps as their source,"
        " not what the files in this image say.",
    )


def _commits(account: Account) -> tuple[str, ...]:
    """Warn of revisions that call ``commit()``: Alembic alone loses what comes after that."""
    if not account.committed_inside:
        return ()
    return (
        f"Committed by the revision itself: {', '.join(sorted(account.committed_inside))}. With Alembic alone, one"
        " that calls commit() on env.py's connection loses its version, and what follows it. Use autocommit_block().",
    )


def _outside(account: Account) -> tuple[str, ...]:
    """Warn of revisions that another session may have told something else than with Alembic's one transaction."""
    if not account.looked_from_outside:
        return ()
    return (
        f"A session of its own: {', '.join(sorted(account.looked_from_outside))}. It sees the revisions before it, each"
        " committed by itself; with Alembic alone it would not. Where that matters: --transactions AsEnvironment.",
    )


def _sentence(reason: str, account: Account) -> str:
    at = ", ".join(account.reached) or "base"
    if reason == "DatabaseAhead":
        return f"The database is ahead of this image, at {at}; it contains everything that the image needs."
    if reason == "Adopted":
        return f"{account.adopted} Nothing was applied."
    if reason == "NothingToDo":
        return f"The database is at {at} already."
    within = " in env.py's own transaction" if account.transactions == AS_ENVIRONMENT else ""
    if reason == "Downgraded":
        return f"Took back {counted(len(account.undone), 'revision')}{within}: the database is at {at}."
    return f"Applied {counted(len(account.applied), 'revision')}{within}: the database is at {at}."
