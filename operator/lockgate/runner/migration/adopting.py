"""Adopts a schema that exists without a version: made by init scripts, or by ``create_all``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lockgate.errors import InvalidConfiguration, Refused
from lockgate.runner.adoption.baselines import Stamp, Survey, named_revisions
from lockgate.runner.adoption.replay import Replay
from lockgate.runner.adoption.schema_match import compare_tables, mismatch, named_tables
from lockgate.runner.database import outcome
from lockgate.runner.migration.account import Adopted
from lockgate.runner.revisions import plan

if TYPE_CHECKING:
    from lockgate.runner.adoption.inventory import Name
    from lockgate.runner.entry.course import Course
    from lockgate.runner.revisions.project import Project

__all__ = ["adopt"]


def adopt(
    project: Project, baseline: str, tables: tuple[str, ...], enter: Callable[[Course], None], *, insist: bool
) -> Adopted | None:
    """Write the baseline into a version table that is empty or not there, if the tables are those of that revision.

    None where there is nothing to adopt: there is a version, or, unless somebody insists, not one of the tables.
    BaselineMismatch where only a part is there; InvalidConfiguration where nobody can tell.
    """
    survey = Survey(project)
    enter(survey)
    if len(survey.rows) > 1:
        raise Refused(
            f"env.py migrates {len(survey.rows)} version tables: a baseline would not say which of them it is for.",
            advice="Stamp each of them with `alembic stamp`, for example with env.py's own arguments (-x).",
        )
    revisions = named_revisions(project, baseline)
    rows = survey.rows[0] if survey.rows else ()
    if rows:
        if insist:
            _compare_versions(survey, rows, revisions)
        return None
    wanted = _wanted(project, tables, revisions)
    comparison = compare_tables(wanted, survey.existing)
    if comparison.is_empty and not insist:
        return None
    if not comparison.is_complete:
        raise mismatch(revisions, comparison)
    enter(Stamp(project, revisions, wanted))
    return Adopted(revisions, comparison.wanted)


def _compare_versions(survey: Survey, rows: tuple[str, ...], revisions: tuple[str, ...]) -> None:
    if not set(revisions) <= plan.ancestors(rows, survey.graph):
        raise Refused(
            f"The version table says {', '.join(rows)}, which does not contain {', '.join(revisions)}.",
            advice="A baseline is for a database without a version. What it lacks, `lockgate migrate` applies.",
        )


def _wanted(project: Project, tables: tuple[str, ...], revisions: tuple[str, ...]) -> dict[Name, set[str] | None]:
    """Return the tables that have to be there: as named, or as the revisions make them."""
    if tables:
        return named_tables(tables)
    replay = Replay(project, revisions)
    trouble = ""
    try:
        replay.run()
    except (Exception, SystemExit) as error:  # env.py is the user's code: anything can come out of it
        trouble = f"env.py does not work in Alembic's offline mode: {outcome.brief_at(error, project.folders)}"
    if not trouble and replay.contexts != 1:
        trouble = f"env.py configures {replay.contexts} version tables in Alembic's offline mode"
    if not trouble and replay.doubts and replay.models.tables and set(revisions) >= set(project.script.get_heads()):
        return replay.models.tables  # of the heads, the models say the same
    if not trouble and replay.doubts:
        more = f" and {len(replay.doubts) - 3} more" if len(replay.doubts) > 3 else ""
        trouble = f"these do what only a database shows: {'; '.join(replay.doubts[:3])}{more}"
    if not trouble and not replay.inventory.tables:
        trouble = "no table is left of what they make"
    if trouble:
        raise InvalidConfiguration(
            f"Which tables {', '.join(revisions)} has cannot be known from the revision files: {trouble}.",
            advice="Name the tables that have to be there: --baseline-tables, LOCKGATE_BASELINE_TABLES.",
        )
    return replay.inventory.tables
