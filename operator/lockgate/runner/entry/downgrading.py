"""The way back: which revisions of a version table are to be taken back, and from which source."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic.runtime.migration import MigrationStep
from sqlalchemy import text

from lockgate.errors import DowngradeDenied, Irreversible, LockgateError, Refused
from lockgate.runner.records import lineage
from lockgate.runner.revisions import plan, way_back
from lockgate.runner.revisions.kinship import stranger
from lockgate.runner.revisions.reversibility import reversal
from lockgate.runner.revisions.stored_revisions import Assembled, assemble
from lockgate.runner.wording import counted

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep

    from lockgate.runner.entry.seen import Seen
    from lockgate.runner.invocation.configuration import Configuration
    from lockgate.runner.output.progress import Narrator
    from lockgate.runner.revisions.project import Project

__all__ = ["Downgrade", "Undo", "refusal"]


class Undo(NamedTuple):
    """A revision to take back."""

    revision: str
    message: str
    table: str
    """The version table that would lose it."""
    source: str
    """``image`` or ``lockgate.history``."""
    note: str = ""
    obstacle: str = ""
    """Why it cannot be taken back."""

    def __str__(self) -> str:
        """Say it in a line."""
        origin = " (from lockgate.history)" if self.source != "image" else ""
        said = (
            f" CANNOT be taken back: {self.obstacle}" if self.obstacle else f" note: {self.note}" if self.note else ""
        )
        return f"{self.revision} {self.message}{origin}{said}"


class Downgrade:
    """Takes every version table back: to the revision that was named, else to what the image contains.

    env.py is entered twice for it: first nothing is done, and ``planned`` gets what would be, for all version tables of
    env.py; then, with that as ``approved``, exactly this is done.
    """

    upward = False

    def __init__(
        self,
        project: Project,
        configuration: Configuration,
        narrator: Narrator,
        approved: tuple[Undo, ...] | None = None,
    ) -> None:
        self._script = project.script
        self._named = configuration.destination
        self._narrator = narrator
        self._approved = approved
        self.only_looks = approved is None
        self._assembled: dict[int, tuple[Seen, Assembled]] = {}
        self.destination = configuration.destination or configuration.target
        self.planned: tuple[Undo, ...] = ()

    @cached_property
    def graph(self) -> dict[str, tuple[str, ...]]:
        """The image's revisions and their parents."""
        return plan.graph(self._script)

    def steps(self, seen: Seen, context: MigrationContext) -> list[RevisionStep]:
        """Return what is to be taken back, the newest first; nothing as long as it is not approved."""
        contained = plan.ancestors(seen.rows, self.graph, seen.arrival.lineage)
        stored = _stored(context, seen)
        if contained <= set(stored) | set(self.graph):  # else `assemble` says what nobody has
            self._refuse_stranger(seen, ())  # before a module of another application is imported
        assembled = assemble(self._script, contained, stored)
        self._refuse_stranger(seen, assembled.stored)
        steps = self._way(assembled, seen.rows)
        self._assembled[id(seen)] = (seen, assembled)
        known = plan.graph(assembled.script)
        left = contained - {step.revision.revision for step in steps}
        seen.target, seen.planned = way_back.tips(left, known), len(steps)
        seen.is_ahead = bool(plan.unknown_rows(seen.target, self.graph))
        undos = tuple(self._undo(step, seen, assembled) for step in steps)
        if self._approved is None:
            self.planned += undos
            return []
        if not set(undos) <= set(self._approved):
            raise Refused(
                f"Somebody else has changed {seen.arrival.table} since the plan was made; nothing is taken back.",
                advice="Look at the database, then run it again.",
            )
        self._narrator.tell("planned", "", current=seen.rows, target=seen.target, pending=len(steps))
        return steps

    def _refuse_stranger(self, seen: Seen, replaced: Iterable[str]) -> None:
        arrival = seen.arrival
        error = stranger(seen.rows, self.graph, arrival.lineage, replaced=replaced, version_table=arrival.version_table)
        if error is not None:
            raise error

    def left(self, seen: Seen, rows: tuple[str, ...]) -> int:
        """Return how many revisions are still to be taken back."""
        if self._approved is None or id(seen) not in self._assembled:
            return 0
        return len(self._way(self._assembled[id(seen)][1], rows))

    def _way(self, assembled: Assembled, rows: tuple[str, ...]) -> list[RevisionStep]:
        script = assembled.script
        known = plan.graph(script)
        if self._named:
            return way_back.going_back(script, self._named, rows)
        heads = plan.target_heads(self._script, self.destination, ())
        names = way_back.above(plan.ancestors(rows, known), heads, known)
        found: list[Any] = [script.get_revision(name) for name in names]
        return [MigrationStep.downgrade_from_script(script.revision_map, revision) for revision in found]

    def _undo(self, step: RevisionStep, seen: Seen, assembled: Assembled) -> Undo:
        revision = step.revision.revision
        judged = reversal(assembled.sources.get(revision, ""), step.revision.module)
        notes = (assembled.notes.get(revision, ""), judged.note)
        redact = self._narrator.redact
        return Undo(
            revision,
            " ".join((step.doc or "").split()),
            seen.arrival.version_table,
            "lockgate.history" if revision in assembled.stored else "image",
            redact("; ".join(note for note in notes if note)),
            redact(assembled.obstacles.get(revision, "") or judged.obstacle),
        )


def _stored(context: MigrationContext, seen: Seen) -> dict[str, lineage.Stored]:
    connection = context.connection
    assert connection is not None  # noqa: S101  # it was configured with one
    if not seen.arrival.writes_history:
        return {}

    def query(sql: str, **parameters: object) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.execute(text(sql), parameters)]

    return lineage.stored(query, seen.arrival.schema, seen.arrival.table)


def refusal(planned: tuple[Undo, ...], policy: str) -> LockgateError | None:
    """Say why this cannot, or may not, be taken back; None where nothing speaks against it."""
    stuck = [undo for undo in planned if undo.obstacle]
    if stuck:
        named = "; ".join(f"{undo.revision}: {undo.obstacle}" for undo in stuck[:5])
        more = f"; and {len(stuck) - 5} more" if len(stuck) > 5 else ""
        return Irreversible(
            f"{len(stuck)} of {counted(len(planned), 'revision')} cannot be taken back: {named}{more}. Nothing is"
            " done.",
            advice="Go forward with a new revision, or restore a backup.",
        )
    if planned and policy != "Allow":
        return DowngradeDenied(
            f"{counted(len(planned), 'revision')} would be taken back, {_span(planned)}, and nobody has allowed that."
            " Nothing is done.",
            advice="What they added is lost with them. If that is right: --downgrade Allow, spec.policy.downgrade.",
        )
    return None


def _span(planned: tuple[Undo, ...]) -> str:
    first, last = planned[0].revision, planned[-1].revision
    return first if first == last else f"from {first} down to and with {last}"
