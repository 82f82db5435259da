"""The way up: what is pending in a version table, or why nothing can be applied to it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from lockgate.runner.entry.env_transactions import AS_ENVIRONMENT
from lockgate.runner.records import history
from lockgate.runner.revisions import plan, way_back
from lockgate.runner.wording import counted

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep

    from lockgate.runner.entry.seen import Seen
    from lockgate.runner.invocation.configuration import Configuration
    from lockgate.runner.output.progress import Narrator
    from lockgate.runner.revisions.project import Project

__all__ = ["Upgrade"]


class Upgrade:
    """Brings every version table to the target."""

    upward = True
    only_looks = False

    def __init__(self, project: Project, configuration: Configuration, narrator: Narrator) -> None:
        self._script = project.script
        self._accept = configuration.database_ahead == "Accept" or configuration.downgrade == "Allow"
        self._narrator = narrator
        self.destination = configuration.target

    @cached_property
    def graph(self) -> dict[str, tuple[str, ...]]:
        """The image's revisions and their parents."""
        return plan.graph(self._script)

    def steps(self, seen: Seen, context: MigrationContext) -> list[RevisionStep]:  # noqa: ARG002  # a Course
        """Return what is pending; nothing where the database is ahead, which may be an error."""
        rows = seen.rows
        seen.changed = self._changed(seen)
        unknown = plan.unknown_rows(rows, self.graph)
        if unknown:
            seen.target = plan.target_heads(self._script, self.destination, ())
            self._judge_ahead(seen, unknown)
            return []
        steps = plan.pending(self._script, self.destination, rows)
        seen.target, seen.planned = plan.target_heads(self._script, self.destination, steps), len(steps)
        said = f"{counted(len(steps), 'revision')} to apply to {seen.arrival.table}{_within(seen)}"
        first = self._narrator.progress.attempt == 1  # later ones have the same ahead of them, or what is left of it
        self._narrator.tell(
            "planned",
            said if steps and first else "",
            current=rows,
            target=seen.target,
            pending=len(steps),
        )
        return steps

    def left(self, seen: Seen, rows: tuple[str, ...]) -> int:
        """Return how many revisions are pending."""
        if not seen.ran or plan.unknown_rows(rows, self.graph):
            return 0
        return len(plan.pending(self._script, self.destination, rows))

    def _changed(self, seen: Seen) -> tuple[str, ...]:
        applied = plan.ancestors(seen.rows, self.graph, seen.arrival.lineage)
        recorded = {
            revision: sha for revision, sha in seen.arrival.sources.items() if revision in applied & set(self.graph)
        }
        files = {}
        for script in self._script.walk_revisions() if recorded else ():
            files[script.revision] = script.path
        return tuple(sorted(name for name, sha in recorded.items() if history.is_other_source(files[name], sha)))

    def _judge_ahead(self, seen: Seen, unknown: tuple[str, ...]) -> None:
        error = plan.ahead(seen.rows, unknown, seen.target, self.graph, seen.arrival.lineage, accept=self._accept)
        if error is not None:
            raise error
        seen.is_ahead = True
        known = {**seen.arrival.lineage, **self.graph}
        seen.ahead = tuple(way_back.above(plan.ancestors(seen.rows, known), seen.target, known))


def _within(seen: Seen) -> str:
    """Say where the revisions are not committed one by one, and why."""
    choice = seen.choice
    if choice.transactions != AS_ENVIRONMENT:
        return ""
    return f", in env.py's own transaction{f': {choice.why}' if choice.why else ''}"
