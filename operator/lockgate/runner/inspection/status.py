"""``lockgate status``: where the database is, against this image, and who holds the lock. Takes none."""

from __future__ import annotations

import os

from lockgate.errors import InvalidRevisions
from lockgate.runner.database.lock_holders import LockHolder
from lockgate.runner.inspection.answer import Answer, answered, columns
from lockgate.runner.inspection.position import (
    Position,
    Verdict,
    compare,
    half_applied,
    named_table,
    opened,
    read_position,
    recorded_statements,
)
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.invocation.project_file import working_directory
from lockgate.runner.output.progress import Narrator
from lockgate.runner.revisions.project import Project, load_project
from lockgate.runner.wording import counted

__all__ = ["status"]


def status(configuration: Configuration, narrator: Narrator) -> Answer:
    """Look once, and say how the database stands to the revisions of this image."""
    project = load_project(configuration, working_directory(), os.environ)
    schema, table = named_table(configuration, project)
    with opened(project, configuration, narrator, "status") as (_, connection):
        position = read_position(connection, schema, table)
        leader = (project.version_schema, project.version_table)
        backend = connection.backend
        fence = (position.schema or schema or backend.default_schema(connection), table)
        holders = backend.find_holders(connection, leader, fence)
        more = backend.others(connection, holders)
        kept = recorded_statements(connection, position.name)
    verdict, warnings = _verdict(configuration, project, position)
    return _answer(position, verdict, holders, half_applied(position, verdict, kept), (*warnings, *more))


def _verdict(
    configuration: Configuration, project: Project, position: Position
) -> tuple[Verdict | None, tuple[str, ...]]:
    accept = configuration.database_ahead == "Accept"
    try:
        return compare(project.script, position, target=configuration.target, accept=accept), ()
    except InvalidRevisions as error:
        # Some revision files need what only env.py sets up. What the database says is true all the same.
        return None, (f"No target: {error.message}",)


def _answer(
    position: Position,
    verdict: Verdict | None,
    holders: tuple[LockHolder, ...],
    half_applied: tuple[tuple[str, int], ...],
    warnings: tuple[str, ...],
) -> Answer:
    reason, message = _said(position, verdict)
    target = verdict.target if verdict else ()
    pending = None if verdict is None or verdict.is_ahead or verdict.objection else len(verdict.steps)
    ahead = None if verdict is None else verdict.is_ahead
    details = {
        "version_table": position.name if position.schema else None,
        "current": position.rows,
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
            ("version table", position.name if position.schema else f"none ({position.table})"),
            ("current", position.spoken),
            ("target", ", ".join(target) if verdict else "unknown"),
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
    report = answered(reason, message, rows=position.rows, target=target, pending=pending or 0, warnings=warnings)
    return Answer(report, {"status": details}, lines)


def _said(position: Position, verdict: Verdict | None) -> tuple[str, str]:
    at = f"The database is at {position.spoken}"
    if verdict is None:
        return "TargetUnknown", f"{at}; what this image needs is not known (see the warning)."
    if verdict.is_ahead:
        message = f"{at}, ahead of this image; it contains everything that the image needs."
        return "DatabaseAhead", str(verdict.objection) if verdict.objection else message
    if verdict.objection:
        return verdict.objection.reason, str(verdict.objection)
    if verdict.steps:
        return (
            "RevisionsPending",
            f"{at}, {counted(len(verdict.steps), 'revision')} before {', '.join(verdict.target)}.",
        )
    return "NothingToDo", f"{at}: nothing is pending."
