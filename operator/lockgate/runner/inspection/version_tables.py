"""Which version tables a project has, and where each of them is, as far as that is known without entering env.py.

A table that is named on the command line counts as named. Else a run of the same files, or of an earlier release, has
recorded which ones env.py configures; else the configuration names one that has rows of this project; else
lockgate.history knows a table of another name to which revisions of this project were applied. Where none of these says
anything, nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lockgate.errors import DatabaseBusy, InvalidRevisions
from lockgate.runner.database import outcome
from lockgate.runner.database.connection import database_error
from lockgate.runner.database.privileges import may_read
from lockgate.runner.inspection.position import (
    Position,
    Verdict,
    compare,
    compare_recorded,
    named_table,
    read_position,
)
from lockgate.runner.records import history
from lockgate.runner.records.lineage import Related, related_tables, tables_with
from lockgate.runner.records.projects import Known, identity_of, known_projects
from lockgate.runner.revisions import plan
from lockgate.runner.revisions.outline import digest_of_files
from lockgate.runner.revisions.project import first_revisions
from lockgate.runner.wording import counted

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

    from lockgate.runner.database.connection import OwnConnection
    from lockgate.runner.database.lock_holders import LockHolder
    from lockgate.runner.invocation.configuration import Configuration
    from lockgate.runner.revisions.project import Project

__all__ = [
    "find_holders",
    "find_places",
    "find_positions",
    "judged",
    "of_project",
    "positions_with",
    "recorded_by_runs",
    "whereabouts",
]


_IS_BLIND = f"SELECT to_regnamespace('lockgate') IS NOT NULL AND NOT {may_read('history')}"


def recorded_by_runs(connection: OwnConnection, project: Project) -> list[Known]:
    """Return what runs of these very files, or of an earlier release of the project, found; the newest first."""
    files = digest_of_files(project.folders)
    return known_projects(connection, project.digest, files, identity_of(first_revisions(project.script)))


def find_positions(
    connection: OwnConnection, configuration: Configuration, project: Project, known: Sequence[Known]
) -> tuple[Position, ...]:
    """Return where each version table of the project is; what is only a guess says so."""
    schema, table = named_table(configuration, project)
    if configuration.version_table:
        return (read_position(connection, schema, table),)
    there = _recorded(connection, known)
    if there:
        return tuple(read_position(connection, *place) for place in there)
    named = read_position(connection, schema, table)._replace(is_guess=True)
    graph = _graph(project, known)
    if not connection.backend.keeps_history or any(row in graph for row in named.rows):
        return (named,)
    related = related_tables(connection.rows, graph)
    others = _others(related, table, project)
    if others:
        return tuple(read_position(connection, *place) for place in others)
    named = named._replace(is_blind=bool(connection.value(_IS_BLIND)))
    return (named._replace(elsewhere=tuple(f"{one.schema}.{one.table}" for one in related if not named.schema)),)


def find_holders(
    connection: OwnConnection, leader: tuple[str, str], places: Iterable[tuple[str, str]]
) -> tuple[LockHolder, ...]:
    """Return who holds the leader lock, or the fence of any of these version tables (schema or nothing, name)."""
    backend = connection.backend
    found: dict[LockHolder, None] = {}
    for schema, table in places:
        fence = (backend.place(connection, schema, table) or schema or backend.default_schema(connection), table)
        found.update(dict.fromkeys(backend.find_holders(connection, leader, fence)))
    return tuple(found)


def find_places(
    connection: OwnConnection, configuration: Configuration, project: Project
) -> tuple[tuple[str, str], ...]:
    """Return the version tables that may be the project's without reading them: they may be locked.

    So may Lockgate's own tables be, by the session that is to be ended: then the one named in the configuration counts.
    """
    named = named_table(configuration, project)
    if configuration.version_table or not connection.backend.keeps_history:
        return (named,)
    try:
        known = recorded_by_runs(connection, project)
        recorded = _recorded(connection, known)
        if recorded:
            return recorded
        return (named, *_others(related_tables(connection.rows, _graph(project, known)), named[1], project))
    except database_error() as error:
        if not isinstance(outcome.classify(error), DatabaseBusy):
            raise
        return (named,)


def positions_with(
    connection: OwnConnection, configuration: Configuration, project: Project | None
) -> tuple[Position, ...]:
    """Return where the version tables are that have to contain one revision, without the image's revision files."""
    named = read_position(connection, *named_table(configuration, project))
    if configuration.version_table or not connection.backend.keeps_history:
        return (named,)
    wanted = configuration.revision
    if wanted in plan.ancestors(named.rows, named.lineage):
        return (named,)
    others = [place for place in tables_with(connection.rows, wanted) if place[1] != named.table]
    return tuple(read_position(connection, *place) for place in others) or (named._replace(is_guess=True),)


def of_project(related: Sequence[Related], script: ScriptDirectory) -> tuple[tuple[str, str], ...]:
    """Return the tables to which a file of this project was applied as it is; all, where that is so of none."""
    same = [one for one in related if one.sha256 and not history.is_other_source(_path(script, one), one.sha256)]
    return tuple((one.schema, one.table) for one in (same or related))


def judged(
    project: Project, positions: Sequence[Position], known: Sequence[Known], *, target: str, accept: bool
) -> list[tuple[Position, Verdict]]:
    """Compare each position with the image's revisions; InvalidRevisions where neither files nor records tell them."""
    try:
        return [(one, compare(project.script, one, target=target, accept=accept)) for one in positions]
    except InvalidRevisions:
        recorded = next((one for one in known if one.target == target and one.graph), None)
        if recorded is None or _can_be_loaded(project):
            raise
        return [(one, compare_recorded(recorded, one, accept=accept)) for one in positions]


def whereabouts(positions: Sequence[Position]) -> str:
    """Return what is known of where the database is, as a clause."""
    if len(positions) == 1:
        return positions[0].sentence
    rows = sorted({row for position in positions for row in position.rows})
    return f"the database is at {', '.join(rows) or 'base'} ({counted(len(positions), 'version table')})"


def _recorded(connection: OwnConnection, known: Sequence[Known]) -> tuple[tuple[str, str], ...]:
    """Return the recorded version tables that exist."""
    recorded = dict.fromkeys(place for one in known for place in one.version_tables)
    return tuple(place for place in recorded if connection.backend.place(connection, *place))


def _others(related: Sequence[Related], named: str, project: Project) -> tuple[tuple[str, str], ...]:
    """Return the related tables of another name than the configuration says.

    One of the same name in another schema may be another tenant's, whom the role or the URL decides.
    """
    return of_project([one for one in related if one.table != named], project.script)


def _graph(project: Project, known: Sequence[Known]) -> plan.Parents:
    try:
        return plan.graph(project.script)
    except InvalidRevisions:
        return known[0].graph if known else {}


def _can_be_loaded(project: Project) -> bool:
    """Return whether the files are all right, and something else is wrong: the target, for example."""
    try:
        plan.graph(project.script)
    except InvalidRevisions:
        return False
    return True


def _path(script: ScriptDirectory, related: Related) -> str:
    try:
        found = script.get_revision(related.revision)
    except Exception:  # files that cannot be loaded without env.py
        return ""
    return str(found.path) if found is not None else ""
