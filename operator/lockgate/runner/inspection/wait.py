"""``lockgate wait``: polls until the database has what this image needs. No lock, no env.py, no API access.

Satisfied when the upgrade plan from the rows of the version table is empty, or when the rows are ahead of this image
by a lineage that lockgate.history knows. A revision that is named (``--revision``) is looked up without reading files.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from lockgate.errors import DatabaseBusy, DatabaseUnreachable, InvalidRevisions, LockgateError, SchemaNotReady
from lockgate.report import Report
from lockgate.runner.database import outcome
from lockgate.runner.database.connection import Database, OwnConnection
from lockgate.runner.database.session_settings import Settings
from lockgate.runner.durations import spoken
from lockgate.runner.inspection.position import LOCK_TIMEOUT_MS, Position, database_of, recorded_statements
from lockgate.runner.inspection.version_tables import (
    find_positions,
    judged,
    positions_with,
    recorded_by_runs,
    whereabouts,
)
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.invocation.project_file import working_directory
from lockgate.runner.output.progress import Narrator
from lockgate.runner.output.publication import report_of
from lockgate.runner.records.projects import Known
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
    own: plan.Parents = field(default_factory=dict)
    """The image's revisions and their parents."""
    unreadable: InvalidRevisions | None = None
    """Why they are not known."""
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
        if project is not None and not self.configuration.revision:
            self._read_graph(project)
        while True:
            trouble = self._look(database, project)
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

    def _read_graph(self, project: Project) -> None:
        """Read the revision files; what cannot be loaded without env.py may have been recorded by a run."""
        target = self.configuration.target
        try:
            self.own = plan.graph(project.script)
        except InvalidRevisions as error:
            self.unreadable = InvalidRevisions(
                error.message,
                advice="If the revision files need what only env.py sets up, say which one to wait for: --revision."
                " Once a run of these very files has succeeded, that is not needed.",
            )
            return
        self.needed = plan.target_heads(project.script, target, ())
        plan.pending(project.script, target, ())  # an unknown or ambiguous target is an error now

    def _look(self, database: Database, project: Project | None) -> str | None:
        """Ask once; return what is missing, or None."""
        was_open = False
        try:
            self.connection = database.connect("wait")
            was_open = True
            positions, known = self._read(self.connection, project)
            self._close()  # between two looks the migration may need every session that there is
        except Exception as caught:
            self._close()
            error = outcome.classify(caught, connecting=not was_open)
            if isinstance(error, (DatabaseUnreachable, DatabaseBusy)):
                return error.message.rstrip(".")
            raise error from caught
        return self._missing(project, positions, known)

    def _read(self, connection: OwnConnection, project: Project | None) -> tuple[tuple[Position, ...], Sequence[Known]]:
        known: Sequence[Known] = ()
        if self.configuration.revision or project is None:
            positions = positions_with(connection, self.configuration, project)
        else:
            known = recorded_by_runs(connection, project)
            positions = find_positions(connection, self.configuration, project, known)
        self.rows = tuple(sorted({row for position in positions for row in position.rows}))
        self.half_back = set()
        for position in positions:
            left = recorded_statements(connection, position.name)
            self.half_back |= {part.revision for part in left if part.direction == "downgrade"}
        return positions, known

    def _missing(self, project: Project | None, positions: Sequence[Position], known: Sequence[Known]) -> str | None:
        """Return what is missing in any of the version tables."""
        wanted = self.configuration.revision
        at = whereabouts(positions)
        lineages = [position.lineage for position in positions]
        self.contained = plan.ancestors(self.rows, self.own, *lineages)
        half = self.half_back & self.contained
        half &= plan.ancestors([wanted] if wanted else self.needed, self.own, *lineages)
        if half:
            return f"{at}, and {', '.join(sorted(half))} is half taken back"
        if wanted or project is None:
            lacking = [one for one in positions if wanted not in plan.ancestors(one.rows, one.lineage, self.own)]
            return f"{at}, needed is {wanted}" if lacking else None
        return self._pending(project, positions, known, at)

    def _pending(self, project: Project, positions: Sequence[Position], known: Sequence[Known], at: str) -> str | None:
        target, accept = self.configuration.target, self.configuration.database_ahead == "Accept"
        if self.unreadable is not None and not any(one.graph and one.target == target for one in known):
            raise self.unreadable
        verdicts = [verdict for _, verdict in judged(project, positions, known, target=target, accept=accept)]
        self.needed = tuple(sorted({head for verdict in verdicts for head in verdict.target}))
        self.missing = sum(len(verdict.pending) for verdict in verdicts)
        objection = next((verdict.objection for verdict in verdicts if verdict.objection), None)
        if objection is not None:
            return objection.message.rstrip(".")
        return f"{at}, {counted(self.missing, 'revision')} before {', '.join(self.needed)}" if self.missing else None

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
