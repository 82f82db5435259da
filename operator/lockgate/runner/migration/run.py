"""One run of ``lockgate migrate``, in the order that makes it safe.

Connect; is this a primary, a direct connection, a supported version?; already at the target?; leader lock; look again;
migrate under the fence; verify over a connection of its own; report; unlock.

This module is the part of a run that every process has. What only a leader does is in `leading`, with all that it
imports: a process that waits, or finds nothing to do, imports a driver, and neither Alembic nor SQLAlchemy.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from lockgate.errors import CheckFailed, DatabaseBusy, DatabaseUnreachable, LockgateError, TransactionPooler
from lockgate.report import CheckResult, Report
from lockgate.runner.database import outcome
from lockgate.runner.database.backends.fitting import fitted
from lockgate.runner.database.connection import Database, OwnConnection, database_error
from lockgate.runner.database.first_connection import CONNECT_PATIENCE, connect_patiently
from lockgate.runner.database.lock import leader_key
from lockgate.runner.database.session_settings import Settings
from lockgate.runner.durations import spoken
from lockgate.runner.fresh_process import LoadedTwice, can_go_on
from lockgate.runner.health.health_checks import Surroundings, baseline, check_health, check_over
from lockgate.runner.interruption import Interruption
from lockgate.runner.invocation.checks import DriftCheck
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.invocation.project_file import working_directory
from lockgate.runner.migration.account import Account, run_report
from lockgate.runner.migration.attempts import backoff
from lockgate.runner.migration.election import Candidate, OneSession, Waiting, elect
from lockgate.runner.migration.handover import MIGRATE, baseline_of, handed_over, take_over
from lockgate.runner.output.progress import Narrator
from lockgate.runner.records.images import contained, record
from lockgate.runner.records.satisfied import recall
from lockgate.runner.records.unverified import Baseline
from lockgate.runner.revisions.inputs import is_unchanged
from lockgate.runner.revisions.outline import Outline, outline, secrets_in

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from lockgate.runner.database.backends.backend import Examined
    from lockgate.runner.entry.downgrading import Undo
    from lockgate.runner.entry.sessions import EnvironmentSessions
    from lockgate.runner.revisions.project import Project

__all__ = ["Run"]

T = TypeVar("T")

NEWS_SECONDS = 5.0
"""How often a process that waits tells what the holder of the lock runs now."""


@dataclass
class Run:
    """The state of one run; `execute` goes through it once, `report` tells of it at any time."""

    configuration: Configuration
    narrator: Narrator
    interruption: Interruption
    started: float = field(default_factory=time.monotonic)
    started_ns: int = field(default_factory=time.time_ns)
    """The same moment, as files have it."""
    taken_over: Mapping[str, Any] = field(default_factory=dict)
    """What another process of this run has handed over."""
    account: Account = field(init=False)
    checks: tuple[CheckResult, ...] = ()
    warnings: list[str] = field(default_factory=list)
    lock_wait: float = 0.0
    before: Baseline | None = None
    """What was wrong before this run did anything; kept when the run begins again."""
    database: Database | None = None
    planned: tuple[Undo, ...] = ()
    """What the run takes back, or would."""
    session: OneSession | None = None
    """The one session that the run has while it looks, and leads."""
    _proven: bool = False
    """Behind a pooler: it gives each client a session of its own."""
    _told: tuple[int, float] = (-1, 0.0)
    """Whom this run said it waits for, and after how many seconds of waiting."""

    def __post_init__(self) -> None:
        """Derive the session settings, which env.py's connections get and ours too."""
        configuration, state = self.configuration, self.taken_over
        self.account, self.before = take_over(state), baseline_of(state)
        self.started -= state.get("seconds", 0.0)
        self.warnings += state.get("warnings", ())
        self.stage = self._first_stage = state.get("stage", MIGRATE)
        self._first_attempt = self.account.attempts
        if state:
            self.narrator.tell("retrying", "", attempt=self.account.attempts)
        self.secrets = secrets_in(os.environ, configuration.database_env)  # env.py may change its environment
        self.settings = Settings(
            resource=configuration.resource,
            pod=configuration.pod,
            lock_timeout_ms=round(configuration.ddl_lock_timeout * 1000),
            statement_timeout_ms=round(configuration.statement_timeout * 1000),
        )

    @cached_property
    def sessions(self) -> EnvironmentSessions:
        """What listens to env.py's sessions."""
        from lockgate.runner.entry.sessions import EnvironmentSessions  # noqa: PLC0415  # imports SQLAlchemy

        return EnvironmentSessions(self.settings, self.interruption)

    @cached_property
    def project(self) -> Project:
        """Alembic's configuration and revisions."""
        from lockgate.runner.revisions.project import load_project  # noqa: PLC0415  # imports Alembic

        return load_project(self.configuration, working_directory(), os.environ)

    def cancel(self, *, end: bool) -> None:
        """Cancel what env.py runs in the database, or end its sessions; any thread may ask for that."""
        if "sessions" not in self.__dict__:
            return
        from lockgate.runner.migration.cancellation import cancel_sessions  # noqa: PLC0415  # hardly ever needed

        over = self.session.connection if self.session is not None else None
        cancel_sessions(self.database, self.sessions, end=end, otherwise=over)

    def execute(self) -> str:
        """Bring the database to the target; return the reason of success, raise an error of our tree otherwise."""
        project: Outline | Project = outline(self.configuration, working_directory(), os.environ) or self.project
        self.narrator.redact.learn(project.url)
        lend = None if self.configuration.connect == "Url" else self._lend
        self.database = database = Database.of_url(
            project.url, self.settings, lend, project.objection, env_first=project.env_first
        )
        self.configuration = fitted(self.configuration, self.patiently(lambda: database.backend))
        while True:
            session = self.session = OneSession(lambda: database.connect("waiting"))
            self._open_first(session, database)
            try:
                server = database.backend.examine(session.open())
                if server.objection is None:
                    return self._over(session, project, server)
                if not database.turn_to_environment(server.objection):
                    raise server.objection
            except TransactionPooler as pooler:
                if not database.turn_to_environment(pooler):
                    raise
            except LoadedTwice:
                raise
            except Exception as caught:
                # The server went away under the leader's connection, by a failover for example: begin again.
                error = outcome.classify(caught)
                if type(error) is not DatabaseUnreachable or self._is_last_attempt():
                    raise
                self.account.attempts += 1
                self.stage = MIGRATE
                if "project" in self.__dict__:
                    self.project.forget_modules()
                said = f"{error.message} Beginning again."
                self.narrator.tell("retrying", said, attempt=self.account.attempts, waiting_for=error.message)
                time.sleep(backoff(self.account.attempts, random.uniform))
            finally:
                session.close()

    def _lend(self) -> Engine:
        """Enter env.py for its engine, before any lock is taken: nothing is migrated."""
        from lockgate.runner.entry.borrowing import borrow_engine  # noqa: PLC0415  # imports Alembic

        destination = self.configuration.destination or self.configuration.target
        return borrow_engine(self.project, self.sessions, self.narrator.redact, destination=destination)

    def _is_last_attempt(self) -> bool:
        return self.account.attempts >= self.configuration.ddl_lock_attempts

    def _open_first(self, session: OneSession, database: Database) -> None:
        """Connect; where the URL leads to no server at all, env.py may know another one."""
        try:
            self.patiently(session.open)
        except DatabaseUnreachable as error:
            if not database.turn_to_environment(error):
                raise
            self.patiently(session.open)

    def _over(self, session: OneSession, project: Outline | Project, server: Examined) -> str:
        connection = session.open()
        if self.configuration.image:  # an operator reads the report
            self.account.database = _hashed(connection.backend.identity(connection))
        try:
            if self._is_satisfied(connection, project):
                return self._nothing_left()
            return self._lead(session, project, server)
        finally:
            self._find_images(session.connection)

    def _find_images(self, connection: OwnConnection | None) -> None:
        """Ask which other images led to what the database contains; a run that failed tells what it can."""
        account = self.account
        if (
            connection is None
            or not self.configuration.image
            or self.interruption.cause is not None
            or not account.revisions
        ):
            return
        image = self.configuration.image
        try:
            account.images = contained(connection, account.version_tables, account.revisions, without=image)
        except (DatabaseUnreachable, database_error()):
            return  # they are told by the next run

    def record_image(self, connection: OwnConnection) -> None:
        """Record where this image led to, for a resource that is made anew."""
        image, account = self.configuration.image, self.account
        if not image:
            return
        try:
            record(connection, image, account.version_tables, account.target)
        except database_error() as error:
            self.warnings.append(f"It is not recorded that this image was here: {outcome.brief(error)}.")

    def patiently(self, connect: Callable[[], T]) -> T:
        """Return what ``connect`` does, waiting for a database that is away, or has no session left for us."""
        crowded = self.configuration.lock_wait
        return connect_patiently(connect, patience=CONNECT_PATIENCE, crowded=crowded, narrator=self.narrator)

    def _is_satisfied(self, connection: OwnConnection, project: Outline | Project) -> bool:
        """Take the fast path: nothing changed since a run succeeded, so nothing of the application is imported."""
        if self.configuration.command != "migrate" or self.configuration.fast_path == "Never":
            return False
        try:
            satisfied = recall(connection, project.digest)
        except database_error() as error:
            if not isinstance(outcome.classify(error), DatabaseBusy):
                raise
            return False  # the version table is locked, perhaps by the run that will be waited for
        if satisfied is None or not is_unchanged(satisfied.inputs, self.secrets):
            return False
        self.account.current = self.account.reached = satisfied.rows
        self.account.target, self.account.pending = satisfied.target, 0
        self.account.revisions, self.account.is_complete = set(satisfied.revisions), True
        self.account.tables = (("", satisfied.schema, satisfied.table),)
        # Nothing ran: what is wrong was wrong before. And little follows: the connection may become read-only.
        self.check(baseline(connection), over=connection)
        if self.configuration.image:
            connection.backend.allow_writes(connection.rows)
            self.record_image(connection)
        return True

    def _lead(self, session: OneSession, project: Outline | Project, server: Examined) -> str:
        # Not the session's schema: that may change while pods wait, and all of them have to agree on the key.
        schema, table = project.version_schema, project.version_table
        candidate = Candidate(
            lock=lambda connection: connection.backend.leader(connection, schema, table),
            is_enough=lambda connection: self._is_satisfied(connection, project),
            prove=self._prove if server.pooled else None,
        )
        waited = elect(
            candidate,
            session,
            wait=self.configuration.lock_wait,
            clock=time.monotonic,
            sleep=time.sleep,
            uniform=random.uniform,
            waiting=self._waiting,
        )
        if waited is None:
            return self._nothing_left()
        self.lock_wait = waited
        connection = session.open()
        connection.rename("leader")
        self.narrator.tell("leading", "", waiting_for="")
        server = connection.backend.examine(connection)  # which may be another one than before the wait
        if server.objection is not None:
            raise server.objection
        if self._is_satisfied(connection, project):
            return self._nothing_left()
        from lockgate.runner.migration.leading import lead  # noqa: PLC0415  # imports Alembic

        return lead(self, connection, leader_key(schema, table), server.fingerprint)

    def _prove(self, connection: OwnConnection) -> bool:
        """Find out that a pooler has given a session to this run alone; TransactionPooler where it has not."""
        assert self.database is not None  # noqa: S101  # execute() has set it
        if self._proven:
            return True
        shared = connection.backend.is_shared(connection, self.database.connect)
        if shared:
            raise TransactionPooler(
                "The connection goes through a transaction pooler, where a session lock protects nothing.",
                advice="Give it a URL that leads to the server itself, or to a session pool (on Kubernetes:"
                " spec.database.directUrlFrom).",
            )
        self._proven = shared is False
        return self._proven

    def _waiting(self, waiting: Waiting) -> None:
        said, waited = waiting.said, waiting.seconds
        before, at = self._told
        # The holder's statements may follow each other quickly: a line for each would be its log, and not ours.
        if waiting.holder != before or (waited - at >= NEWS_SECONDS and said != self.narrator.progress.waiting_for):
            self._told = waiting.holder, waited
            self.narrator.tell(
                "waiting", f"waiting: {said}{f' ({spoken(waited)})' if waited >= 1 else ''}", waiting_for=said
            )
        self.lock_wait = waited

    def check(self, before: Baseline, *, over: OwnConnection | None = None) -> None:
        """Run the health checks: ``revision`` has been verified when this is called.

        ``over``: a connection that nobody needs any more, in place of a new one.
        """
        database = self.database
        assert database is not None  # noqa: S101  # execute() has set it
        surroundings = Surroundings(
            before=before,
            built=self._built,
            drift=self._check_drift,
            redact=self.narrator.redact,
        )
        checks = self.configuration.checks
        if over is not None:
            found = check_over(over, checks, surroundings)
        else:
            found = check_health(checks, database.connect, surroundings)
        self.checks = (CheckResult("revision", passed=True), *found)
        failed = [check for check in self.checks if not check.passed]
        if failed:
            raise CheckFailed(
                "Health check failed: " + "; ".join(f"{check.name}: {check.message}" for check in failed) + ".",
                advice="The schema is migrated. Correct the data or the check, and start another run; on Kubernetes,"
                " pods stay held until then.",
            )

    @property
    def _built(self) -> frozenset[str]:
        """Names of the indexes that this run has built CONCURRENTLY, in earlier processes too."""
        built = self.sessions.built if "sessions" in self.__dict__ else ()
        return frozenset((*built, *self.taken_over.get("built", ())))

    def _nothing_left(self) -> str:
        """Return the reason of success where a run that begins again finds nothing left to do."""
        self.account.settle_kept(self.account.revisions)
        return "Migrated" if self.account.applied else "NothingToDo"

    @property
    def gets_on(self) -> bool:
        """Whether this process has got further than the one before: another one will, then, and not begin for ever."""
        return self.account.attempts > self._first_attempt or self.stage != self._first_stage

    def handed_over(self) -> dict[str, Any]:
        """Return what a fresh process has to know to go on."""
        return handed_over(
            self.account,
            self.before,
            stage=self.stage,
            seconds=time.monotonic() - self.started,
            lock_wait=self.taken_over.get("lock_wait", 0.0) + self.lock_wait,
            warnings=self.warnings,
            built=sorted(self._built),
            planned=[undo._asdict() for undo in self.planned],
        )

    def _check_drift(self, check: DriftCheck) -> CheckResult:
        from lockgate.runner.health.drift import check_drift  # noqa: PLC0415  # imports Alembic

        try:
            return check_drift(check, self.project, self.configuration.target, self.sessions, self.narrator.redact)
        except LoadedTwice as error:
            if can_go_on() and self.gets_on:
                raise
            return CheckResult(check.name, passed=False, message=str(error.orig))

    @property
    def details(self) -> dict[str, Any]:
        """What only a downgrade has to say, for JSON."""
        return {"plan": [undo._asdict() for undo in self.planned]} if self.planned else {}

    def report(self, reason: str, error: LockgateError | None = None) -> Report:
        """Tell what happened."""
        step = self.narrator.progress.step
        if error is not None and error is self.interruption.cause and step:
            error = type(error)(f"{error.message} It was at {step}.", advice=error.advice)
        return run_report(
            self.account,
            reason=reason,
            error=error,
            checks=self.checks,
            warnings=tuple(dict.fromkeys(self.warnings)),
            lock_wait=self.taken_over.get("lock_wait", 0.0) + self.lock_wait,
            seconds=time.monotonic() - self.started,
        )


def _hashed(identity: str) -> str:
    """Return a hash of it: a status is read by more people than a catalogue."""
    return hashlib.sha256(identity.encode()).hexdigest()[:16] if identity else ""
