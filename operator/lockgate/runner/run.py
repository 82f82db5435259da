"""One run of ``lockgate migrate``, in the order that makes it safe.

Connect; is this a primary, a direct connection, a supported version?; already at the target?; leader lock; look again;
migrate under the fence; verify over a connection of its own; report; unlock.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field

from sqlalchemy.exc import DBAPIError

from lockgate.errors import CheckFailed, DatabaseUnreachable, LockgateError
from lockgate.report import CheckResult, Report
from lockgate.runner import history, outcome, unverified
from lockgate.runner.account import Account, run_report
from lockgate.runner.backends.fitting import fitted
from lockgate.runner.cancellation import end_abandoned
from lockgate.runner.configuration import Configuration
from lockgate.runner.connection import Database, OwnConnection, parse_url
from lockgate.runner.course import Course
from lockgate.runner.drift import check_drift
from lockgate.runner.durations import spoken
from lockgate.runner.environment import EnvironmentEntry
from lockgate.runner.first_connection import CONNECT_PATIENCE, connect_patiently
from lockgate.runner.half_applied import said_of
from lockgate.runner.health import Baseline, Surroundings, baseline, check_health
from lockgate.runner.index_builds import IndexBuilds
from lockgate.runner.interruption import Interruption
from lockgate.runner.lock import Holder, acquire, leader_key
from lockgate.runner.migrate import backoff, migrate
from lockgate.runner.monitor import Monitor
from lockgate.runner.progress import Narrator
from lockgate.runner.project import Project, load_project, script_folders
from lockgate.runner.project_file import working_directory
from lockgate.runner.satisfied import Satisfied, recall, remember
from lockgate.runner.session_settings import Settings
from lockgate.runner.sessions import EnvironmentSessions
from lockgate.runner.upgrading import Upgrade
from lockgate.runner.verification import VersionTables

__all__ = ["Run"]


@dataclass
class Run:
    """The state of one run; `execute` goes through it once, `report` tells of it at any time."""

    configuration: Configuration
    narrator: Narrator
    interruption: Interruption
    started: float = field(default_factory=time.monotonic)
    account: Account = field(default_factory=Account)
    checks: tuple[CheckResult, ...] = ()
    warnings: list[str] = field(default_factory=list)
    lock_wait: float = 0.0
    before: Baseline | None = None
    """What was wrong before this run did anything; kept when the run begins again."""
    sessions: EnvironmentSessions = field(init=False)
    database: Database | None = None

    def __post_init__(self) -> None:
        """Derive the session settings, which env.py's connections get and ours too."""
        configuration = self.configuration
        self.settings = Settings(
            resource=configuration.resource,
            pod=configuration.pod,
            lock_timeout_ms=round(configuration.ddl_lock_timeout * 1000),
            statement_timeout_ms=round(configuration.statement_timeout * 1000),
        )
        self.sessions = EnvironmentSessions(self.settings, self.interruption)

    def execute(self) -> str:
        """Bring the database to the target; return the reason of success, raise an error of our tree otherwise."""
        project = load_project(self.configuration, working_directory(), os.environ)
        self.narrator.redact.learn(project.url)
        self.database = Database(parse_url(project.url), self.settings)
        self.configuration = fitted(self.configuration, self.database.backend)
        while True:
            connection = self._connect("leader")
            try:
                return self._over(connection, self.database, project)
            except Exception as caught:
                # The server went away under the leader's connection, by a failover for example: begin again.
                error = outcome.classify(caught)
                if type(error) is not DatabaseUnreachable or self._is_last_attempt():
                    raise
                self.account.attempts += 1
                self.narrator.tell("retrying", f"{error.message} Beginning again.", attempt=self.account.attempts)
                time.sleep(backoff(self.account.attempts, random.uniform))
            finally:
                connection.close()

    def _is_last_attempt(self) -> bool:
        return self.account.attempts >= self.configuration.ddl_lock_attempts

    def _over(self, connection: OwnConnection, database: Database, project: Project) -> str:
        fingerprint, error = database.backend.examine(connection, database.connect)
        if error is not None:
            raise error
        if self._is_satisfied(connection, project):
            return "NothingToDo"
        return self._lead(connection, project, fingerprint)

    def _connect(self, role: str) -> OwnConnection:
        database = self.database
        assert database is not None  # noqa: S101  # execute() has set it
        return connect_patiently(lambda: database.connect(role), patience=CONNECT_PATIENCE, narrator=self.narrator)

    def _is_satisfied(self, connection: OwnConnection, project: Project) -> bool:
        """Take the fast path: nothing changed since a run succeeded, so nothing of the application is imported."""
        satisfied = recall(connection, project.digest)
        if satisfied is None:
            return False
        self.account.current = self.account.reached = satisfied.rows
        self.account.target, self.account.pending = satisfied.target, 0
        self.account.revisions = set(satisfied.revisions)
        self._check(project, baseline(connection))  # nothing ran: what is wrong was wrong before
        return True

    def _lead(self, connection: OwnConnection, project: Project, fingerprint: str) -> str:
        # Not the session's schema: that may change while pods wait, and all of them have to agree on the key.
        scope = leader_key(project.version_schema, project.version_table)
        lock = connection.backend.leader(connection, project.version_schema, project.version_table)
        self.lock_wait = acquire(
            lock,
            wait=self.configuration.lock_wait,
            clock=time.monotonic,
            sleep=time.sleep,
            uniform=random.uniform,
            waiting=self._waiting,
        )
        self.narrator.tell("leading", "", waiting_for="")
        if self._is_satisfied(connection, project):
            return "NothingToDo"
        warning = history.ensure(connection)
        if warning:
            self.warnings.append(warning)
        before = self.before or baseline(connection)
        self.before = before if warning else unverified.begin(connection, scope, before)
        self._migrate(connection, project, fingerprint, Upgrade(project, self.configuration, self.narrator))
        if not warning and not self.account.writes_history:
            self.warnings.append(history.OTHER_ROLE)
        self.narrator.tell("verifying", "verifying", verifying=True, step="", statement="", waiting_for="")
        self._check(project, self.before)
        if not warning:
            unverified.end(connection, scope)
            self._remember(connection, project, fingerprint)
        if self.account.is_ahead:
            return "DatabaseAhead"
        return "Migrated" if self.account.applied else "NothingToDo"

    def _waiting(self, holder: Holder | None, waited: float) -> None:
        said = str(holder or "lock held by a session that just ended")
        if self.narrator.progress.waiting_for != said:
            self.narrator.tell("waiting", f"waiting: {said} ({spoken(waited)})", waiting_for=said)

    def _migrate(self, connection: OwnConnection, project: Project, fingerprint: str, course: Course) -> None:
        database = self.database
        assert database is not None  # noqa: S101  # execute() has set it
        deadline = time.monotonic() + max(self.configuration.lock_wait - self.lock_wait, 1.0)

        def enter() -> EnvironmentEntry:
            return EnvironmentEntry(
                project=project,
                course=course,
                configuration=self.configuration,
                sessions=self.sessions,
                narrator=self.narrator,
                interruption=self.interruption,
                fence_wait=lambda: deadline - time.monotonic(),
            )

        builds = IndexBuilds(database, fingerprint, self.sessions, self.narrator)
        self.sessions.preparation = builds
        tables = VersionTables(connection, fingerprint, self.settings)
        try:
            with Monitor(database.connect, self.sessions, self.narrator):
                migrate(
                    project=project,
                    enter=enter,
                    tables=tables,
                    account=self.account,
                    attempts=self.configuration.ddl_lock_attempts,
                    interruption=self.interruption,
                    narrator=self.narrator,
                )
        finally:
            tables.close()
            end_abandoned(database, self.sessions)
            if builds.dropped:
                self.warnings.append(f"Dropped what an earlier try left invalid: {', '.join(builds.dropped)}.")
            self.warnings += said_of(self.sessions.journal.resumed, self.sessions.journal.unrecorded)

    def _check(self, project: Project, before: Baseline) -> None:
        """Run the health checks: ``revision`` has been verified when this is called."""
        database = self.database
        assert database is not None  # noqa: S101  # execute() has set it
        redact = self.narrator.redact
        surroundings = Surroundings(
            before=before,
            built=frozenset(self.sessions.built),
            drift=lambda check: check_drift(check, project, self.configuration.target, self.sessions, redact),
            redact=redact,
        )
        found = check_health(self.configuration.checks, database.connect, surroundings)
        self.checks = (CheckResult("revision", passed=True), *found)
        failed = [check for check in self.checks if not check.passed]
        if failed:
            raise CheckFailed(
                "Health check failed: " + "; ".join(f"{check.name}: {check.message}" for check in failed) + ".",
                advice="The schema is migrated; pods stay held until the checks pass.",
            )

    def _remember(self, connection: OwnConnection, project: Project, fingerprint: str) -> None:
        if len(self.account.tables) != 1 or self.account.tables[0][0] != fingerprint or self.account.is_ahead:
            return
        if not project.covers(script_folders(project.script)):
            return  # env.py added folders of revisions, which the digest knows nothing of
        _, schema, table = self.account.tables[0]
        account = self.account
        satisfied = Satisfied(schema, table, account.reached, account.target, tuple(sorted(account.revisions)))
        try:
            remember(connection, project.digest, satisfied)
        except DBAPIError as error:
            self.warnings.append(f"The fast path is not recorded: {outcome.brief(error)}.")

    def report(self, reason: str, error: LockgateError | None = None) -> Report:
        """Tell what happened."""
        return run_report(
            self.account,
            reason=reason,
            error=error,
            checks=self.checks,
            warnings=tuple(self.warnings),
            lock_wait=self.lock_wait,
            seconds=time.monotonic() - self.started,
        )
