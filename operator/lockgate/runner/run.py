"""One run of ``lockgate migrate``, in the order that makes it safe.

Connect; is this a primary, a direct connection, a supported version?; already at the target?; leader lock; look again;
migrate under the fence; verify over a connection of its own; report; unlock.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lockgate.errors import CheckFailed, DatabaseUnreachable, LockgateError
from lockgate.report import CheckResult, Report
from lockgate.runner import history, outcome
from lockgate.runner.configuration import Configuration
from lockgate.runner.connection import Database, OwnConnection, parse_url
from lockgate.runner.durations import spoken
from lockgate.runner.environment import EnvironmentEntry
from lockgate.runner.health import check_health, invalid_indexes
from lockgate.runner.history import Satisfied
from lockgate.runner.interruption import Interruption
from lockgate.runner.lock import AdvisoryLock, Holder, acquire, leader_key
from lockgate.runner.migrate import Account, migrate
from lockgate.runner.monitor import Monitor
from lockgate.runner.progress import Narrator
from lockgate.runner.project import Project, load_project
from lockgate.runner.server import examine, objection
from lockgate.runner.session_settings import Settings
from lockgate.runner.sessions import EnvironmentSessions
from lockgate.runner.verification import VersionTables

__all__ = ["Run", "connect_patiently"]

CONNECT_PATIENCE = 30.0
"""Seconds in which a database that is not there yet, or fails over, is tried again before the pod ends."""


def connect_patiently(connect: Callable[[], OwnConnection], *, patience: float, narrator: Narrator) -> OwnConnection:
    """Open a connection, trying again for ``patience`` seconds where the database cannot be reached."""
    start, attempt = time.monotonic(), 0
    while True:
        try:
            return connect()
        except Exception as caught:
            error = outcome.classify(caught, connecting=True)
            if not isinstance(error, DatabaseUnreachable) or time.monotonic() - start >= patience:
                raise error from caught
        attempt += 1
        narrator.tell("connecting", f"{error.message} Trying again.", waiting_for=error.message)
        time.sleep(min(0.5 * attempt, 3.0) * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret


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
        project = load_project(self.configuration, Path.cwd())
        self.narrator.redact.learn(project.url)
        self.database = Database(parse_url(project.url), self.settings)
        connection = self._connect("leader")
        try:
            server = examine(connection, self.database.connect)
            error = objection(server)
            if error is not None:
                raise error
            if self._is_satisfied(connection, project):
                return "NothingToDo"
            return self._lead(connection, project, server.fingerprint)
        finally:
            connection.close()

    def _connect(self, role: str) -> OwnConnection:
        database = self.database
        assert database is not None  # noqa: S101  # execute() has set it
        return connect_patiently(lambda: database.connect(role), patience=CONNECT_PATIENCE, narrator=self.narrator)

    def _is_satisfied(self, connection: OwnConnection, project: Project) -> bool:
        """Take the fast path: nothing changed since a run succeeded, so nothing of the application is imported."""
        satisfied = history.recall(connection, project.digest)
        if satisfied is None:
            return False
        self.account.current = self.account.reached = satisfied.rows
        self.account.target, self.account.pending = satisfied.target, 0
        self.account.revisions = set(satisfied.revisions)
        self._check(frozenset())
        return True

    def _lead(self, connection: OwnConnection, project: Project, fingerprint: str) -> str:
        # Not the session's schema: that may change while pods wait, and all of them have to agree on the key.
        lock = AdvisoryLock(connection.rows, leader_key(project.version_schema, project.version_table))
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
        before = invalid_indexes(connection)
        self._migrate(connection, project, fingerprint)
        self.narrator.tell("verifying", "verifying", verifying=True, step="", statement="", waiting_for="")
        self._check(before)
        if not warning:
            self._remember(connection, project, fingerprint)
        if self.account.is_ahead:
            return "DatabaseAhead"
        return "Migrated" if self.account.applied else "NothingToDo"

    def _waiting(self, holder: Holder | None, waited: float) -> None:
        said = str(holder or "lock held by a session that just ended")
        if self.narrator.progress.waiting_for != said:
            self.narrator.tell("waiting", f"waiting: {said} ({spoken(waited)})", waiting_for=said)

    def _migrate(self, connection: OwnConnection, project: Project, fingerprint: str) -> None:
        database = self.database
        assert database is not None  # noqa: S101  # execute() has set it
        deadline = time.monotonic() + max(self.configuration.lock_wait - self.lock_wait, 1.0)

        def enter() -> EnvironmentEntry:
            return EnvironmentEntry(
                project=project,
                configuration=self.configuration,
                sessions=self.sessions,
                narrator=self.narrator,
                interruption=self.interruption,
                fence_wait=lambda: deadline - time.monotonic(),
            )

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

    def _check(self, before: frozenset[str]) -> None:
        """Run the health checks: ``revision`` has been verified when this is called."""
        database = self.database
        assert database is not None  # noqa: S101  # execute() has set it
        found = check_health(self.configuration.checks, database.connect, before, frozenset(self.sessions.built))
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
        _, schema, table = self.account.tables[0]
        account = self.account
        satisfied = Satisfied(schema, table, account.reached, account.target, tuple(sorted(account.revisions)))
        history.remember(connection, project.digest, satisfied)

    def report(self, reason: str, error: LockgateError | None = None) -> Report:
        """Tell what happened, redacted."""
        account, narrator = self.account, self.narrator
        outcome_word = "Succeeded" if error is None else "Interrupted" if error.exit_code == 30 else "Failed"
        return narrator.redact.report(
            Report(
                outcome=outcome_word,
                reason=error.reason if error else reason,
                message=str(error) if error else _sentence(reason, account),
                exit_code=error.exit_code if error else 0,
                retryable=error.retryable if error else False,
                current=account.current,
                reached=account.reached,
                target=account.target,
                pending=account.pending,
                applied=tuple(account.applied),
                failure=account.failure if error else None,
                checks=self.checks,
                revisions=tuple(sorted(account.revisions)),
                lock_wait_seconds=round(self.lock_wait, 3),
                seconds=round(time.monotonic() - self.started, 3),
                attempts=account.attempts,
                warnings=tuple(self.warnings),
            )
        )


def _sentence(reason: str, account: Account) -> str:
    at = ", ".join(account.reached) or "base"
    if reason == "DatabaseAhead":
        return f"The database is ahead of this image, at {at}; it contains everything that the image needs."
    if reason == "NothingToDo":
        return f"Nothing to do: the database is at {at}."
    return f"Applied {len(account.applied)} revision(s): the database is at {at}."
