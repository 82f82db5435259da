"""``lockgate status``: where the database is, against this image, and who holds the lock. Takes none."""

from __future__ import annotations

import os

from lockgate.errors import InvalidRevisions
from lockgate.runner.database.lock_holders import LockHolder
from lockgate.runner.inspection.answer import Answer, answered, columns
from lockgate.runner.inspection.position import Position, Verdict, half_applied, opened, recorded_statements
from lockgate.runner.inspection.version_tables import (
    find_holders,
    find_positions,
    judged,
    recorded_by_runs,
    whereabouts,
)
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.invocation.project_file import working_directory
from lockgate.runner.output.progress import Narrator
from lockgate.runner.revisions.project import load_project
from lockgate.runner.wording import capitalized, counted

__all__ = ["status"]


def status(configuration: Configuration, narrator: Narrator) -> Answer:
    """Look once, and say how the database stands to the revisions of this image."""
    project = load_project(configuration, working_directory(), os.environ)
    with opened(project, configuration, narrator, "status") as (_, connection):
        known = recorded_by_runs(connection, project)
        positions = find_positions(connection, configuration, project, known)
        leader = (project.version_schema, project.version_table)
        places = [(position.schema or project.version_schema, position.table) for position in positions]
        holders = find_holders(connection, leader, places)
        more = connection.backend.others(connection, holders)
        kept = [recorded_statements(connection, position.name) for position in positions]
    accept = configuration.database_ahead == "Accept"
    found: list[tuple[Position, Verdict | None]]
    try:
        judgement = judged(project, positions, known, target=configuration.target, accept=accept)
        found, warnings = list(judgement), more
    except InvalidRevisions as error:
        # Some revision files need what only env.py sets up. What the database says is true all the same.
        found, warnings = [(position, None) for position in positions], (f"No target: {error.message}", *more)
    half = [item for one, rows in zip(found, kept, strict=True) for item in half_applied(*one, rows)]
    return _answer(found, holders, tuple(half), warnings)


def _answer(
    found: list[tuple[Position, Verdict | None]],
    holders: tuple[LockHolder, ...],
    half_applied: tuple[tuple[str, int], ...],
    warnings: tuple[str, ...],
) -> Answer:
    positions = [position for position, _ in found]
    verdicts = [verdict for _, verdict in found if verdict is not None]
    reason, message = _said(positions, verdicts)
    rows = tuple(sorted({row for position in positions for row in position.rows}))
    target = tuple(sorted({head for verdict in verdicts for head in verdict.target}))
    is_open = not verdicts or any(verdict.is_ahead or verdict.objection for verdict in verdicts)
    pending = None if is_open else sum(len(verdict.pending) for verdict in verdicts)
    ahead = any(verdict.is_ahead for verdict in verdicts) if verdicts else None
    names = ", ".join(position.name for position in positions if position.schema)
    current = ", ".join(rows) or ("base" if names else "unknown")
    details = {
        "version_table": names or None,
        "current": rows,
        "target": target,
        "pending": pending,
        "ahead": ahead,
        # How many statements, and not which: a status is copied into tickets.
        "half_applied": [{"revision": revision, "committed": count} for revision, count in half_applied],
        # The statement that runs stays with `unlock`.
        "holders": [{k: v for k, v in holder.details().items() if k != "query"} for holder in holders],
    }
    lines = columns(
        (
            ("version table", names or f"none ({positions[0].table})"),
            ("current", current),
            ("target", ", ".join(target) if verdicts else "unknown"),
            ("pending", "0" if ahead else "unknown" if pending is None else str(pending)),
            ("ahead", {None: "unknown", True: "yes", False: "no"}[ahead]),
            (
                "half applied",
                "; ".join(
                    f"{revision}, {counted(count, 'statement')} of it committed" for revision, count in half_applied
                ),
            ),
            *((("lock", holder.spoken) for holder in holders) if holders else (("lock", "free"),)),
        )
    )
    report = answered(reason, message, rows=rows, target=target, pending=pending or 0, warnings=warnings)
    return Answer(report, {"status": details}, lines)


def _said(positions: list[Position], verdicts: list[Verdict]) -> tuple[str, str]:
    at = capitalized(whereabouts(positions))
    objection = next((verdict.objection for verdict in verdicts if verdict.objection), None)
    pending = sum(len(verdict.pending) for verdict in verdicts)
    if not verdicts:
        return "TargetUnknown", f"{at}; what this image needs is not known (see the warning)."
    if objection:
        is_ahead = any(verdict.is_ahead for verdict in verdicts)
        return "DatabaseAhead" if is_ahead else objection.reason, str(objection)
    if pending:
        target = sorted({head for verdict in verdicts for head in verdict.target})
        return "RevisionsPending", f"{at}, {counted(pending, 'revision')} before {', '.join(target)}."
    if any(verdict.is_ahead for verdict in verdicts):
        return "DatabaseAhead", f"{at}, ahead of this image; it contains everything that the image needs."
    return "NothingToDo", f"{at}: nothing is pending."
