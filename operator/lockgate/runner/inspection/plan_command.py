"""``lockgate plan``: what `lockgate migrate` would do, with its SQL as far as that can be known. Changes nothing."""

from __future__ import annotations

import os

from sqlalchemy.engine.url import URL, make_url

from lockgate.errors import InvalidRevisions
from lockgate.runner.database import outcome
from lockgate.runner.database.connection import Database, OwnConnection
from lockgate.runner.entry.env_transactions import foretell
from lockgate.runner.entry.read_only import libpq_reads_only
from lockgate.runner.inspection.answer import Answer, answered
from lockgate.runner.inspection.offline import Planned, Rendering, place
from lockgate.runner.inspection.position import (
    SETTINGS,
    Position,
    Verdict,
    half_applied,
    opened,
    opened_by,
    read_position,
    reading,
    recorded_statements,
)
from lockgate.runner.inspection.version_tables import find_positions, judged, recorded_by_runs, whereabouts
from lockgate.runner.interruption import StopRequested
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.invocation.project_file import working_directory
from lockgate.runner.output.progress import Narrator
from lockgate.runner.revisions.project import Project, load_project
from lockgate.runner.wording import capitalized, counted

__all__ = ["show_plan"]


def show_plan(configuration: Configuration, narrator: Narrator) -> Answer:
    """Plan; with SQL where env.py takes part, else from the revision files alone."""
    project = load_project(configuration, working_directory(), os.environ)
    with opened(project, configuration, narrator, "plan") as (database, connection):
        own = database.url or make_url(project.url.strip())  # only now: `opened` says what is wrong with it

        def read(url: URL, schema: str, table: str) -> Position:
            if place(url) != place(own):
                elsewhere = Database.of_url(url.render_as_string(hide_password=False), SETTINGS)
                with opened_by(elsewhere, "plan") as other:
                    return read_position(other, schema, table)
            with reading():
                return read_position(connection, schema, table)

        rendering = Rendering(project, configuration, narrator, read, own)
        with libpq_reads_only(connection):
            trouble = _render(rendering, project)
        if rendering.refusal:
            raise rendering.refusal
        if trouble or not rendering.positions:
            return _without_sql(configuration, project, connection, trouble or "it runs no migration in offline mode")
        begun = _begun(connection, rendering.positions)
    return _answer(
        rendering.positions,
        rendering.planned,
        (*begun, *_limits(connection, rendering.planned, rendering.begins), *_unread(rendering)),
        foretell(configuration.transactions, begun=rendering.has_begun),
    )


def _render(rendering: Rendering, project: Project) -> str:
    """Enter env.py; return why that did not work, or nothing."""
    try:
        rendering.run()
    except StopRequested:
        raise
    except (Exception, SystemExit) as error:  # env.py is the user's code: anything can come out of it
        return outcome.brief_at(error, project.folders)
    return ""


def _limits(connection: OwnConnection, planned: list[Planned], begins: bool | None) -> tuple[str, ...]:
    """Say what this kind of database cannot give, where there is anything to apply."""
    return connection.backend.limits(begins=begins) if planned else ()


def _begun(connection: OwnConnection, positions: list[tuple[Position, Verdict]]) -> tuple[str, ...]:
    """Name what an earlier run left in the middle; several version tables may be in several databases."""
    if len(positions) != 1:
        return ()
    position, verdict = positions[0]
    return tuple(
        f"{revision} is half applied: {counted(count, 'statement')} of it committed. A run stops there, or continues"
        " behind them with --half-applied Resume."
        for revision, count in half_applied(position, verdict, recorded_statements(connection, position.name))
    )


def _unread(rendering: Rendering) -> tuple[str, ...]:
    return tuple(f"Another database that env.py migrates is not planned: {said}" for said in rendering.unread)


def _without_sql(configuration: Configuration, project: Project, connection: OwnConnection, trouble: str) -> Answer:
    known = recorded_by_runs(connection, project)
    positions = find_positions(connection, configuration, project, known)
    accept = configuration.database_ahead == "Accept"
    try:
        found = judged(project, positions, known, target=configuration.target, accept=accept)
    except InvalidRevisions as error:
        raise InvalidRevisions(f"{error.message} env.py cannot be used either: {trouble}.") from error
    planned = [item for position, verdict in found for item in _unrendered(position, verdict)]
    warning = f"No revision can be rendered, because env.py does not work in Alembic's offline mode: {trouble}."
    warnings = (warning, *_limits(connection, planned, None)) if planned else ()
    return _answer(found, planned, warnings, foretell(configuration.transactions, begun=False))


def _unrendered(position: Position, verdict: Verdict) -> list[Planned]:
    messages = {step.revision.revision: step.doc or "" for step in verdict.steps}
    note = "see the warning"
    return [Planned(name, messages.get(name, ""), position.name, None, note) for name in verdict.pending]


def _answer(
    found: list[tuple[Position, Verdict]], planned: list[Planned], warnings: tuple[str, ...], transactions: str
) -> Answer:
    error = next((verdict.objection for _, verdict in found if verdict.objection), None)
    rows = tuple(sorted({row for position, _ in found for row in position.rows}))
    target = tuple(sorted({head for _, verdict in found for head in verdict.target}))
    reason, message = _said(found, rows, planned)
    report = answered(reason, message, error=error, rows=rows, target=target, pending=len(planned), warnings=warnings)
    several = len(found) > 1
    lines = [line for number, item in enumerate(planned, 1) for line in _lines(number, len(planned), item, several)]
    details = {"plan": [item._asdict() for item in planned], "committed": transactions}
    return Answer(report, details, (f"-- transactions: {transactions}", *lines) if planned else ())


def _said(found: list[tuple[Position, Verdict]], rows: tuple[str, ...], planned: list[Planned]) -> tuple[str, str]:
    positions = [position for position, _ in found]
    at = f"The database is at {', '.join(rows) or 'base'}"
    if any(position.is_guess or position.applied for position in positions):
        at = capitalized(whereabouts(positions))
    if planned:
        return "RevisionsPending", f"{at}; {counted(len(planned), 'revision')} would be applied."
    if any(verdict.is_ahead for _, verdict in found):
        return "DatabaseAhead", f"{at}, ahead of this image; nothing would be applied."
    return "NothingToDo", f"{at}: nothing would be applied."


def _lines(number: int, total: int, item: Planned, several: bool) -> list[str]:
    table = f" ({item.table})" if several else ""
    lines = ["", f"-- {number}/{total} {item.revision} {item.message}".rstrip() + table]
    if item.note:
        lines.append(f"-- note: {item.note}")
    return lines if item.sql is None else [*lines, *item.sql.splitlines()]
