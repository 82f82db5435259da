"""One entry into env.py, which is never edited: what happens when it calls ``context.configure()``, and each revision.

There the connection arrives that env.py migrates over: it gets the fence and the settings, and Alembic gets one
transaction per revision and a last look before each commit. Alembic calls `EnvironmentEntry.steps` for the work.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from alembic.runtime.environment import EnvironmentContext
from sqlalchemy import text

from lockgate.errors import DatabaseUnreachable, LockgateError, MigrationFailed
from lockgate.report import Applied
from lockgate.runner.database.dbapi import asking, dbapi_of, send
from lockgate.runner.entry.arrival import arrive, keep_settings
from lockgate.runner.entry.declared_locking import DeclaredLocking, declared_by
from lockgate.runner.entry.entering import enter
from lockgate.runner.entry.resuming import look_back
from lockgate.runner.entry.seen import Seen
from lockgate.runner.entry.sessions import EnvironmentSessions
from lockgate.runner.imports import end_imports
from lockgate.runner.interruption import Interruption
from lockgate.runner.invocation.configuration import Configuration
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
        self.more = False
        """env.py holds the transaction: it was left after one revision, so that this one is committed by itself."""

    @property
    def course(self) -> Course:
        """Where this entry leads."""
        return self._course

    @property
    def failed_statement(self) -> str:
        """Text of the statement that failed last, without parameters."""
        return self._sessions.failed

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
        end_imports()
        callbacks = options.get("on_version_apply") or ()
        own = callbacks if isinstance(callbacks, (tuple, list)) else (callbacks,)
        options["on_version_apply"] = (*own, self._before_commit)
        options["transaction_per_migration"] = True
        environment.run_migrations = functools.partial(self._run_migrations, environment)  # type: ignore[method-assign]  # see `entering`
        with self._sessions.inputs.alembics_own():
            seen = None if connection is None else self._arrived(connection, options)
            EnvironmentContext.configure(environment, connection, *args, **options)
        if seen is not None:
            self._by_context[id(environment.get_context())] = seen

    def _run_migrations(self, environment: EnvironmentContext, **options: Any) -> None:
        """Stand in for EnvironmentContext.run_migrations."""
        with self._sessions.inputs.alembics_own():
            EnvironmentContext.run_migrations(environment, **options)

    def _arrived(self, connection: Any, options: dict[str, Any]) -> Seen:
        self._narrator.redact.learn(connection.engine.url.render_as_string(hide_password=False))
        try:
            arrival = arrive(
                connection,
                schema=options.get("version_table_schema"),
                table=options.get("version_table") or "alembic_version",
                settings=self._sessions.settings,
                fence_wait=self._fence_wait(),
                found_held=self._found_held,
                narrator=self._narrator,
            )
        except LockgateError as error:
            self.refusal = error
            raise
        self._sessions.fenced.append(connection.info)
        self.seen.append(Seen(arrival))
        return self.seen[-1]

    def steps(self, rows: tuple[str, ...], context: MigrationContext) -> Iterator[RevisionStep]:
        """Yield the revisions to apply; what follows a ``yield`` happens when that revision's transaction is over."""
        seen = self._by_context[id(context)]
        try:
            seen.ran, seen.rows = True, tuple(map(str, rows))  # a table of bytes is none of Alembic's
            steps = self._course.steps(seen, context)
            for step in steps:
                declared_by(step)  # what cannot be meant is refused before anything is applied
            if seen.arrival.keeps_statements:
                look_back(seen, context, self._course.graph)
                if steps or not seen.is_ahead:  # what is ahead may be half taken back: this image needs none of it
                    refuse_half_way(seen.earlier, upward=self._course.upward)
        except LockgateError as error:
            self.refusal = error
            raise
        arrival = seen.arrival
        messages = [(step.revision.revision, step.doc or "") for step in steps]
        self._narrator.plan(f"{arrival.schema}.{arrival.table}", messages)
        for position, step in enumerate(steps, 1):
            self._interruption.check()
            seen.following = steps[position].revision.revision if position < len(steps) else ""
            self._begin(seen, step, position, context)
            yield step
            self._finish(seen, position)
            if arrival.in_transaction and position < len(steps):
                self.more = True
                return

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
        locks = DeclaredLocking.of(step, context.connection, self._narrator, in_transaction=seen.arrival.in_transaction)
        locks.wait()

        @functools.wraps(function)  # its name is what Alembic logs
        def observed(*args: Any, **kwargs: Any) -> Any:
            """Run the revision and remember what it raised: env.py may swallow that."""
            try:
                locks.take()
                journal.begin(part, earlier)
                with self._sessions.inputs.revision():
                    result = function(*args, **kwargs)
                journal.check_end()
            except BaseException as error:
                self.failed_revision, self.failure = revision, error
                self.refusal = journal.refusal or self.refusal
                raise
            finally:
                self._sessions.unfinished.begin(context.connection)
                committed, seen.uncertain = journal.end()
                seen.left = joined(earlier, committed)
                seen.recorded = revision not in journal.unrecorded
            return result

        step.migration_fn = observed

    def _finish(self, seen: Seen, position: int) -> None:
        step = seen.step
        assert step is not None  # noqa: S101  # set by _begin, a line before
        seconds = round(time.monotonic() - seen.started, 3)
        seen.left = ()
        done = seen.done if step.is_upgrade else seen.undone
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
        look = arrival.backend.look_again(ask, arrival.fence, following, arrival.name)
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

    @staticmethod
    def _without_fence(seen: Seen, session: int, info: Mapping[str, Any]) -> LockgateError:
        """Return why the fence is gone: the session that had it is, or its own revision gave it back."""
        if session != info.get("lockgate_session"):
            return DatabaseUnreachable(
                "The session that held the lock was lost during a revision, which is rolled back."
            )
        return MigrationFailed(
            f"Revision {seen.part.revision} gave back the lock under which it runs, and is rolled back.",
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
