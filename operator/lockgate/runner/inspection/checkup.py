"""``lockgate check``: the health checks of a run, without a run."""

from __future__ import annotations

import os

from lockgate.errors import CheckFailed
from lockgate.report import CheckResult
from lockgate.runner.database.backends.fitting import fitted
from lockgate.runner.database.session_settings import Settings
from lockgate.runner.entry.read_only import libpq_reads_only
from lockgate.runner.entry.sessions import EnvironmentSessions
from lockgate.runner.health.drift import check_drift
from lockgate.runner.health.health_checks import Surroundings, check_health
from lockgate.runner.inspection.answer import Answer, answered
from lockgate.runner.inspection.position import Verdict, opened
from lockgate.runner.inspection.version_tables import find_positions, judged, recorded_by_runs, whereabouts
from lockgate.runner.interruption import Interruption
from lockgate.runner.invocation.checks import DriftCheck
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.invocation.project_file import working_directory
from lockgate.runner.output.progress import Narrator
from lockgate.runner.records.unverified import Baseline
from lockgate.runner.revisions.project import load_project
from lockgate.runner.wording import counted

__all__ = ["check"]


def check(configuration: Configuration, narrator: Narrator) -> Answer:
    """Run all checks, whatever the first ones find; the report is of CheckFailed where one did."""
    project = load_project(configuration, working_directory(), os.environ)
    with opened(project, configuration, narrator, "check") as (database, connection):
        configuration = fitted(configuration, database.backend)
        known = recorded_by_runs(connection, project)
        positions = find_positions(connection, configuration, project, known)
        accept = configuration.database_ahead == "Accept"
        judgement = judged(project, positions, known, target=configuration.target, accept=accept)
        sessions = EnvironmentSessions(Settings(), Interruption())

        def drift(check: DriftCheck) -> CheckResult:
            with libpq_reads_only(connection):
                return check_drift(check, project, configuration.target, sessions, narrator.redact)

        # No run, so no "before" either: every invalid index and every constraint that is NOT VALID counts.
        surroundings = Surroundings(
            before=Baseline(),
            built=frozenset(),
            drift=drift,
            redact=narrator.redact,
        )
        found = check_health(configuration.checks, database.connect, surroundings)
    at = whereabouts(positions)
    verdicts = [verdict for _, verdict in judgement]
    checks = (_revision(at, verdicts), *found)
    failed = [result for result in checks if not result.passed]
    error = None
    if failed:
        error = CheckFailed("Health check failed: " + "; ".join(f"{one.name}: {one.message}" for one in failed) + ".")
    report = answered(
        "Healthy",
        f"{counted(len(checks), 'check')} passed: {at}.",
        error=error,
        rows=tuple(sorted({row for position in positions for row in position.rows})),
        target=tuple(sorted({head for verdict in verdicts for head in verdict.target})),
        pending=sum(len(verdict.pending) for verdict in verdicts),
        checks=checks,
    )
    return Answer(report)


def _revision(at: str, verdicts: list[Verdict]) -> CheckResult:
    """Pass where the upgrade plan of each version table is empty, or where the database is ahead and may be."""
    objection = next((verdict.objection for verdict in verdicts if verdict.objection), None)
    if objection:
        return CheckResult("revision", passed=False, message=objection.message.rstrip("."))
    pending = sum(len(verdict.pending) for verdict in verdicts)
    if pending:
        names = ", ".join(sorted({head for verdict in verdicts for head in verdict.target}))
        return CheckResult("revision", passed=False, message=f"{at}, {counted(pending, 'revision')} before {names}")
    return CheckResult("revision", passed=True)
