"""What a run does to each version table that env.py configures: `Upgrade` or `Downgrade`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep

    from lockgate.runner.entry.seen import Seen

__all__ = ["Course"]


class Course(Protocol):
    """Plans inside env.py, and counts afterwards what is left."""

    @property
    def upward(self) -> bool:
        """Whether revisions are applied, or taken back."""

    @property
    def only_looks(self) -> bool:
        """Whether nothing is applied, so that what env.py does besides is rolled back where that can be."""

    @property
    def destination(self) -> str:
        """What env.py is told about where the run goes."""

    @property
    def graph(self) -> dict[str, tuple[str, ...]]:
        """The image's revisions and their parents; read inside env.py: revision files may need what it sets up."""

    def steps(self, seen: Seen, context: MigrationContext) -> list[RevisionStep]:
        """Plan from ``seen.rows``, and enter the target into ``seen``; raises what speaks against it."""

    def left(self, seen: Seen, rows: tuple[str, ...]) -> int:
        """Return how many steps are left from these rows."""
