"""One entry into env.py, which is never edited: what happens when it calls ``context.configure()``, and each revision.

There the connection arrives that env.py migrates over: it gets the fence and the settings, and Alembic gets the
transactions that `env_transactions` decides on, and a last look before each commit. Alembic calls
`EnvironmentEntry.steps` for the work.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from alembic.runtime.environment import EnvironmentContext
from sqlalchemy import text

from lockgate.errors import DatabaseUnreachable, LockgateError, MigrationFailed
from lockgate.report import Applied
from lockgate.runner.database.dbapi import asking, credentials_of, dbapi_of, send
from lockgate.runner.entry.arrival import Arrival, arrive, keep_settings
from lockgate.runner.entry.declared_locking import DeclaredLocking, declared_by
from lockgate.runner.entry.entering import enter
from lockgate.runner.entry.env_transactions import PER_REVISION, Choice, Style, choose
from lockgate.runner.entry.resuming import look_back
from lockgate.runner.entry.seen import Seen
from lockgate.runner.entry.sessions import EnvironmentSessions, SelfBlock
from lockgate.runner.entry.transactions import Transactions
from lockgate.runner.entry.unfinished import taken_back
from lockgate.runner.forks import end_child, is_child
from lockgate.runner.imports import end_imports
from lockgate.runner.interruption import Interruption
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.ledger.committed import fails_within
from lockgate.runner.ledger.half_applied import joined, left_in_the_middle, refuse_half_way
from lockgate.runner.output.progress import Narrator
from lockgate.runner.records import history, statements
from lockgate.runner.records.statements import Part
from lockgate.runner.revisions.project import Project

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep

    from lockgate.runner.entry.course import Course

__all__ = ["EnvironmentEntry"]


_RECORD, _FORGET = text(history.INSERT), text(statements.FORGET)


class EnvironmentEntry:
    """Runs env.py once, and knows afterwards what it did."""

    def __init__(
        self,
        *,
        project: Project,
        course: Course,
        configuration: Configuration,
        sessions: EnvironmentSessions,
        narrator: Narrator,
        interruption: Interruption,
        fence_wait: Callable[[], float],
        found_held: Callable[[str, int], None],
    ) -> None:
        self._project = project
        self._course = course
        self._configuration = configuration
        self._sessions = sessions
        self._narrator = narrator
        self._interruption = interruption
        self._fence_wait = fence_wait
        self._found_held = found_held
        self._by_context: dict[int, Seen] = {}
        self.seen: list[Seen] = []
        self.refusal: LockgateError | None = None
        """What Lockgate itself raised inside env.py, which may have swallowed it."""
        self.failed_revision = ""
        self.failure: BaseException | None = None
        """What a revision raised, which env.py may have swallowed."""

    @property
    def course(self) -> Course:
        """Where this entry leads."""
        return self._course

    @property
    def failed_statement(self) -> str:
        """Text of the statement that failed last, without parameters."""
        return self._sessions.failed

    @property
    def self_block(self) -> SelfBlock | None:
        """A session of this entry that waited for another one of it."""
        return self._sessions.self_block

    @property
    def swallowed(self) -> BaseException | None:
        """The last database error that did not come out of env.py."""
        return self._sessions.errors[-1] if self._sessions.errors else None

    def run(self) -> None:
        """Run env.py; raises whatever it raises."""
        with self._sessions, self._sessions.inputs:
            enter(
                self._project,
                self.steps,
                self._configured,
                destination=self._course.destination,
                has_begun=lambda: bool(self.seen or self.refusal),
            )

    def _configured(self, environment: EnvironmentContext, connection: Any = None, *args: Any, **options: Any) -> None:
        """Stand in for EnvironmentContext.configure."""
        if is_child():
            sys.exit("lockgate: a process that env.py has forked migrates nothing: the runner does.")
        end_imports()
        callbacks = options.get("on_version_apply") or ()
        own = callbacks if isinstance(callbacks, (tuple, list)) else (callbacks,)
        options["on_version_apply"] = (*own, self._before_commit)
        environment.run_migrations = functools.partial(self._run_migrations, environment)  # type: ignore[method-assign]  # see `entering`
        if connection is None:
            with self._sessions.inputs.alembics_own():
                EnvironmentContext.configure(environment, connection, *args, **options)
            return
        self._narrator.redact.learn(*credentials_of(connection))
        with self._sessions.inputs.alembics_own():
            with self._refusing():
                seen = Seen(self._arrived(connection, options))
            self._sessions.fenced.append(connection.info)
            self.seen.append(seen)
            EnvironmentContext.configure(environment, connection, *args, **options)
        self._by_context[id(environment.get_context())] = seen
        heard: list[str] = []
        self._sessions.hear(connection, heard)
        seen.transactions = Transactions(
            environment.get_context(),
            lambda: tuple(heard),
            lambda style: self._about_to_run(seen, connection, options, style, heard),
            lambda: self._sessions.hear(connection, heard),
            only_looks=self._course.only_looks,
        )

    def _run_migrations(self, environment: EnvironmentContext, **options: Any) -> None:
        """Stand in for EnvironmentContext.run_migrations."""
        with self._sessions.inputs.alembics_own():
            EnvironmentContext.run_migrations(environment, **options)

    def _arrived(self, connection: Any, options: dict[str, Any]) -> Arrival:
        return arrive(
            connection,
            schema=options.get("version_table_schema"),
            table=options.get("version_table") or "alembic_version",
            settings=self._sessions.settings,
            fence_wait=self._fence_wait(),
            found_held=self._found_held,
            narrator=self._narrator,
        )

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Remember what Lockgate refuses: env.py may swallow that."""
        try:
            yield
        except LockgateError as error:
            self.refusal = error
            raise

    def _about_to_run(
        self, seen: Seen, connection: Any, options: dict[str, Any], style: Style, heard: list[str]
    ) -> Choice:
        """Decide on the transactions, and look at the session again where env.py has changed something since."""
        self._sessions.stop_hearing(connection)
        with self._refusing():
            choice = choose(self._configuration.transactions, style)
            if heard:  # another role or schema, perhaps, and so other rights, or another version table
                again = self._arrived(connection, options)
                seen.arrival = replace(again, in_transaction=seen.arrival.in_transaction)
        return choice

    def steps(self, rows: tuple[str, ...], context: MigrationContext) -> Iterator[RevisionStep]:
        """Yield the revisions to apply; what follows a ``yield`` happens when that revision's transaction is over."""
        seen = self._by_context[id(context)]
        with self._refusing():
            seen.ran, seen.rows = True, tuple(map(str, rows))  # a table of bytes is none of Alembic's
            steps = self._course.steps(seen, context)
            for step in steps:
                declared_by(step)  # what cannot be meant is refused before anything is applied
            if seen.arrival.keeps_statements:
                look_back(seen, context, self._course.graph)
                if steps or not seen.is_ahead:  # what is ahead may be half taken back: this image needs none of it
                    refuse_half_way(seen.earlier, upward=self._course.upward)
        arrival, transactions = seen.arrival, seen.transactions
        assert transactions is not None  # noqa: S101  # Alembic runs what was configured
        messages = [(step.revision.revision, step.doc or "") for step in steps]
        self._narrator.plan(f"{arrival.schema}.{arrival.table}", messages)
        for position, step in enumerate(steps, 1):
            self._interruption.check()
            transactions.is_last = position == len(steps)
            seen.following = "" if transactions.is_last else steps[position].revision.revision
            self._begin(seen, step, position, context)
            yield step
            self._finish(seen, position, context)

    def _begin(self, seen: Seen, step: RevisionStep, position: int, context: MigrationContext) -> None:
        revision = step.revision.revision
        if not seen.is_prepared:
            keep_settings(context.connection, self._sessions.settings.named(revision))
        seen.is_prepared = False
        line = f"{position}/{seen.planned} {revision} {step.doc or ''}".strip()
        doing = "applying" if step.is_upgrade else "undoing"
        said = "" if step.info.is_stamp else f"{doing} {line}"
        self._narrator.tell(doing, said, step=line, statement="", percent=None, waiting_for="")
        seen.step, seen.started = step, time.monotonic()
        part = seen.part = Part(seen.arrival.version_table, revision, "upgrade" if step.is_upgrade else "downgrade")
        earlier = seen.earlier.pop(part, ())
        seen.left, seen.recorded = earlier, seen.arrival.keeps_statements
        seen.resumes = self._configuration.half_applied == "Resume"
        journal, function = self._sessions.journal, step.migration_fn
        objection = left_in_the_middle(part, earlier, seen.rows, resume=seen.resumes)
        if objection is not None:
            self.failed_revision, self.refusal = revision, objection
            raise objection
        is_environments = seen.transactions is not None and seen.transactions.is_environments
        locks = DeclaredLocking.of(step, context.connection, self._narrator, in_transaction=is_environments)
        locks.wait()

        @functools.wraps(function)  # its name is what Alembic logs
        def observed(*args: Any, **kwargs: Any) -> Any:
            """Run the revision and remember what it raised: env.py may swallow that."""
            try:
                locks.take()
                journal.begin(part, earlier)
                with self._sessions.inputs.revision(), self._sessions.driver.watched():
                    result = function(*args, **kwargs)
                journal.check_end()
                if journal.is_taken_back and not _is_open(context):
                    raise taken_back(revision)
            except BaseException as error:
                end_child(error)  # before Alembic rolls back what is the runner's
                self.failed_revision, self.failure = revision, error
                self.refusal = journal.refusal or self.refusal
                seen.took_driver = self._sessions.driver.was_taken
                seen.is_rolled_back = not seen.took_driver and fails_within(context.connection)
                raise
            finally:
                self._sessions.unfinished.begin(context.connection)
                committed, seen.uncertain = journal.end()
                seen.left = joined(earlier, committed)
                seen.recorded = revision not in journal.unrecorded
            return result

        step.migration_fn = observed

    def _finish(self, seen: Seen, position: int, context: MigrationContext) -> None:
        step, transactions = seen.step, seen.transactions
        assert step is not None  # noqa: S101  # set by _begin, a line before
        seconds = round(time.monotonic() - seen.started, 3)
        if transactions is not None and transactions.stays_open:
            self._sessions.uncommitted(context.connection, lambda: self._still_fenced(seen, context))
            seen.keep_whole()
        if transactions is not None and transactions.committed_inside:
            seen.committed_inside.append(step.revision.revision)
            transactions.committed_inside = False
        seen.left = ()
        done = seen.done if step.is_upgrade else seen.undone
        if done and step.revision.revision in self._sessions.opened_within and seen.choice == Choice(PER_REVISION):
            seen.looked_from_outside.append(step.revision.revision)
        done.append(Applied(step.revision.revision, step.doc or "", seconds))
        self._narrator.tell(
            "applied" if step.is_upgrade else "undone",
            "",
            pending=seen.planned - position,
            statement="",
            waiting_for="",
            percent=None,
        )

    def _before_commit(self, ctx: MigrationContext, **_: Any) -> None:
        """Look a last time, in the revision's own transaction: is the fence still ours? Then write the history."""
        seen, connection = self._by_context[id(ctx)], ctx.connection
        self._interruption.check()
        assert connection is not None  # noqa: S101  # a revision ran over it
        following = self._sessions.settings.named(seen.following)
        # Below SQLAlchemy, for which each of these would be a statement that it has not seen yet.
        arrival, dbapi = seen.arrival, dbapi_of(connection)
        ask = asking(dbapi)
        commits_more = bool(seen.following) and seen.transactions is not None and not seen.transactions.stays_open
        look = arrival.backend.look_again(ask, arrival.fence, following, arrival.name, commits_more=commits_more)
        seen.is_prepared = look.is_prepared
        if not look.fenced:
            self.refusal = self._without_fence(seen, arrival.backend.session_of(ask), connection.info)
            raise self.refusal
        if look.schema not in ("", arrival.schema):  # the revision has moved the version table
            seen.arrival = replace(arrival, schema=look.schema)
        seen.unrecorded |= not look.may_write
        if self._sessions.journal.is_marked and look.may_keep:
            send(connection, _FORGET, seen.part._asdict())
            self._sessions.journal.is_marked = False
        if look.may_write and seen.step is not None:
            send(connection, _RECORD, self._record(seen, seen.step))
        self._sessions.unfinished.end(dbapi)

    def _still_fenced(self, seen: Seen, context: MigrationContext) -> None:
        """Look once more when env.py commits: it has done something since the last revision."""
        assert context.connection is not None  # noqa: S101  # a revision ran over it
        arrival, ask = seen.arrival, asking(dbapi_of(context.connection))
        try:
            settings = self._sessions.settings
            look = arrival.backend.look_again(ask, arrival.fence, settings, arrival.name, commits_more=False)
        except Exception:  # in a failed transaction the commit is a rollback
            return
        if not look.fenced:
            info, who = context.connection.info, "env.py, after its revisions,"
            self.refusal = self._without_fence(seen, arrival.backend.session_of(ask), info, who)
            raise self.refusal

    @staticmethod
    def _without_fence(seen: Seen, session: int, info: Mapping[str, Any], who: str = "") -> LockgateError:
        """Return why the fence is gone: the session that had it is, or its own revision, or ``who``, gave it back."""
        if session != info.get("lockgate_session"):
            return DatabaseUnreachable(
                "The session that held the lock was lost during a revision, which is rolled back."
            )
        return MigrationFailed(
            f"{who or f'Revision {seen.part.revision}'} gave back the lock under which it runs, and is rolled back.",
            advice="It says DISCARD ALL, or releases all locks of its session, as pg_advisory_unlock_all() does: leave"
            " that out (DISCARD PLANS and RESET ALL keep locks).",
        )

    def _record(self, seen: Seen, step: RevisionStep) -> dict[str, object]:
        revision = step.revision.revision
        return history.record(
            self._configuration,
            version_table=seen.arrival.version_table,
            revision=revision,
            parents=tuple(step.revision._all_down_revisions),
            message=step.doc or "",
            path=step.revision.path if step.is_upgrade else None,
            direction="baseline" if step.info.is_stamp else "upgrade" if step.is_upgrade else "downgrade",
            encoding=seen.arrival.encoding,
            seconds=time.monotonic() - seen.started,
        )


def _is_open(context: MigrationContext) -> bool:
    """Return whether the transaction that Alembic began for a revision is open still, or none was begun."""
    return context._transaction is None or bool(context._transaction.is_active)
