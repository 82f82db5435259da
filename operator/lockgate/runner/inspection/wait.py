"""``lockgate wait``: polls until the database has what this image needs. No lock, no env.py, no API access.

Satisfied when the upgrade plan from the rows of the version table is empty, or when the rows are ahead of this image
by a lineage that lockgate.history knows. A revision that is named (``--revision``) is looked up without reading files.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field

from lockgate.errors import DatabaseBusy, DatabaseUnreachable, InvalidRevisions, LockgateError, SchemaNotReady
from lockgate.report import Report
from lockgate.runner.database import outcome
from lockgate.runner.database.connection import Database, OwnConnection
from lockgate.runner.database.session_settings import Settings
from lockgate.runner.durations import spoken
from lockgate.runner.inspection.position import LOCK_TIMEOUT_MS, database_of, named_table, recorded_statements
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.invocation.project_file import working_directory
from lockgate.runner.output.progress import Narrator
from lockgate.runner.output.publication import report_of
from lockgate.runner.records.lineage import lineage_of
from lockgate.runner.revisions import plan
from lockgate.runner.revisions.project import Project, load_project
from lockgate.runner.wording import counted

__all__ = ["Wait"]

POLL = (0.5, 1.5)
"""Seconds between looks, with jitter: all pods of a Deployment ask at once otherwise."""


@dataclass
class Wait:
    """One ``lockgate wait``."""

    configuration: Configuration
    narrator: Narrator
    started: float = field(default_factory=time.monotonic)
    rows: tuple[str, ...] = ()
    contained: set[str] = field(default_factory=set)
    half_back: set[str] = field(default_factory=set)
    """Revisions that a downgrade has begun to take back, and not ended."""
    needed: tuple[str, ...] = ()
    missing: int = 0
    connection: OwnConnection | None = None

    def execute(self) -> str:
        """Wait; return the reason of success, SchemaNotReady when the time is over."""
        # A revision that is named needs nothing of the image but a driver: neither configuration nor revision files.
        alone = self.configuration.revision and self.configuration.url
        project = None if alone else load_project(self.configuration, working_directory(), os.environ)
        settings = Settings(
            resource=self.configuration.resource, pod=self.configuration.pod, lock_timeout_ms=LOCK_TIMEOUT_MS
        )
        database = database_of(project, self.configuration, self.narrator, settings)
        own = {} if project is None or self.configuration.revision else self._graph(project)
        while True:
            trouble = self._look(database, project, own)
            if trouble is None:
                return "SchemaReady"
            waited = time.monotonic() - self.started
            if waited >= self.configuration.timeout:
                raise SchemaNotReady(
                    f"Not ready after {spoken(waited)}: {trouble}.",
                    advice="Has the migration run? `lockgate status` says where the database is, and who migrates it"
                    " now; on Kubernetes, so does `kubectl get dbm`.",
                )
            if self.narrator.progress.waiting_for != trouble:
                self.narrator.tell("waiting", f"waiting: {trouble}", waiting_for=trouble, current=self.rows)
            pause = random.uniform(*POLL)  # noqa: S311  # jitter, not a secret
            time.sleep(min(pause, max(self.configuration.timeout - waited, 0.01)))

    def _graph(self, project: Project) -> dict[str, tuple[str, ...]]:
        try:
            own = plan.graph(project.script)
        except InvalidRevisions as error:
            raise InvalidRevisions(
                error.message,
                advice="If the revision files need what only env.py sets up, say which one to wait for: --revision.",
            ) from error
        self.needed = plan.target_heads(project.script, self.configuration.target, ())
        plan.pending(project.script, self.configuration.target, ())  # an unknown or ambiguous target is an error now
        return own

    def _look(self, database: Database, project: Project | None, own: plan.Parents) -> str | None:
        """Ask once; return what is missing, or None."""
        was_open = False
        try:
            self.connection = self.connection or database.connect("wait")
            was_open = True
            recorded = self._read(self.connection, project)
            if self.connection.stands_in:
                self._close()
        except Exception as caught:
            self._close()
            error = outcome.classify(caught, connecting=not was_open)
            if isinstance(error, (DatabaseUnreachable, DatabaseBusy)):
                return error.message.rstrip(".")
            raise error from caught
        return self._missing(project, own, recorded)

    def _read(self, connection: OwnConnection, project: Project | None) -> dict[str, tuple[str, ...]]:
        schema, table = named_table(self.configuration, project)
        found, self.rows = connection.backend.located(connection, schema, table)
        left = recorded_statements(connection, f"{found}.{table}")
        self.half_back = {part.revision for part in left if part.direction == "downgrade"}
        return lineage_of(connection, found, table)

    def _missing(self, project: Project | None, own: plan.Parents, recorded: plan.Parents) -> str | None:
        self.contained = plan.ancestors(self.rows, recorded, own)
        at = f"the database is at {', '.join(self.rows) or 'base'}"
        wanted = self.configuration.revision
        half = self.half_back & self.contained & plan.ancestors([wanted] if wanted else self.needed, recorded, own)
        if half:
            return f"{at}, and {', '.join(sorted(half))} is half taken back"
        if wanted or project is None:
            return None if wanted in self.contained else f"{at}, needed is {wanted}"
        unknown = plan.unknown_rows(self.rows, own)
        if not unknown:
            self.missing = len(plan.pending(project.script, self.configuration.target, self.rows))
            return (
                f"{at}, {counted(self.missing, 'revision')} before {', '.join(self.needed)}" if self.missing else None
            )
        accept = self.configuration.database_ahead == "Accept"
        error = plan.ahead(self.rows, unknown, self.needed, own, recorded, accept=accept)
        return None if error is None else error.message.rstrip(".")

    def _close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def report(self, reason: str, error: LockgateError | None = None) -> Report:
        """Tell what was found."""
        self._close()
        return report_of(
            error,
            reason=reason,
            message=f"The database is at {', '.join(self.rows) or 'base'}: ready.",
            current=self.rows,
            reached=self.rows,
            target=self.needed,
            pending=self.missing,
            revisions=tuple(sorted(self.contained)),
            seconds=round(time.monotonic() - self.started, 3),
        )
