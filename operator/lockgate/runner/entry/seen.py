"""What is known of one call of ``context.configure()``, and of the revision that runs over it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from lockgate.report import Applied
from lockgate.runner.entry.arrival import Arrival
from lockgate.runner.entry.env_transactions import Choice
from lockgate.runner.entry.transactions import Transactions
from lockgate.runner.records.statements import Kept, Part

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep

__all__ = ["Seen"]


class Whole(NamedTuple):
    """A revision that ended well; see `Seen`, which has the same fields."""

    step: RevisionStep
    part: Part
    left: tuple[Kept, ...]
    recorded: bool
    uncertain: bool


@dataclass
class Seen:
    """One call of ``context.configure()``: a version table, and what was done to it."""

    arrival: Arrival
    transactions: Transactions | None = None
    """Known once env.py has called ``context.configure()``."""
    rows: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    planned: int = 0
    done: list[Applied] = field(default_factory=list)
    """Steps whose transaction is over; where env.py holds the transaction, they still can be rolled back."""
    undone: list[Applied] = field(default_factory=list)
    """The same, of steps back."""
    is_ahead: bool = False
    ahead: tuple[str, ...] = ()
    """Where it is, what builds on the target."""
    changed: tuple[str, ...] = ()
    """Applied revisions whose file in the image is not what was applied."""
    ran: bool = False
    unrecorded: bool = False
    """A revision had no right to write history any more: it had changed its role."""
    step: RevisionStep | None = None
    left: tuple[Kept, ...] = ()
    """Statements that ``step`` committed before its end; empty once it is over."""
    recorded: bool = False
    """They are in lockgate.statements: the next try knows them."""
    resumes: bool = False
    """That try may continue behind them."""
    part: Part = field(default=Part("", ""))
    """What the statements of ``step`` are recorded as."""
    earlier: dict[Part, tuple[Kept, ...]] = field(default_factory=dict)
    """What other runs left in the middle of revisions."""
    is_prepared: bool = False
    """The session is set as wanted for the revision that comes next."""
    following: str = ""
    """That revision."""
    uncertain: bool = False
    """The connection was lost in the commit of the last of them."""
    is_rolled_back: bool = False
    """All that it is known to have done when it failed is undone: it was done in one transaction, open until then."""
    took_driver: bool = False
    """It has worked below SQLAlchemy."""
    started: float = 0.0
    whole: list[Whole] = field(default_factory=list)
    """Revisions that ended well in a transaction that env.py commits, and had committed a part before."""
    committed_inside: list[str] = field(default_factory=list)
    """Revisions that committed the transaction in which they ran."""
    looked_from_outside: list[str] = field(default_factory=list)
    """Revisions that opened a session of their own, to which others of this run were committed already."""

    @property
    def choice(self) -> Choice:
        """The transactions in which the revisions ran."""
        return self.transactions.choice if self.transactions is not None else Choice("")

    def keep_whole(self) -> None:
        """Remember what the revision that ended has committed: the rest of it may still be rolled back."""
        if self.left and self.step is not None:
            self.whole.append(Whole(self.step, self.part, self.left, self.recorded, self.uncertain))

    def return_to_half(self, contained: Collection[str]) -> None:
        """Return to the first revision of which the rest was rolled back; ``contained``: what the database has."""
        for whole in self.whole:
            if (whole.part.revision in contained) != (whole.part.direction == "upgrade"):
                self.step, self.part, self.left, self.recorded, self.uncertain = whole
                return
