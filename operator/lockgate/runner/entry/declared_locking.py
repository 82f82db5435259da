"""Takes the locks that a revision declares, on env.py's connection; what they are is in `declared_locks`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockgate.runner.entry.arrival import asking, in_own_transaction
from lockgate.runner.entry.declared_locks import DeclaredLocks, declared, take, wait_for_old

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep
    from sqlalchemy.engine import Connection

    from lockgate.runner.output.progress import Narrator

__all__ = ["DeclaredLocking", "declared_by"]


def declared_by(step: RevisionStep) -> DeclaredLocks | None:
    """Return what a step's file declares; InvalidRevisions where that cannot be meant. A stamp touches no table."""
    if step.info.is_stamp:
        return None
    return declared(getattr(step.revision, "module", None), str(step.revision.path))


@dataclass
class DeclaredLocking:
    """The locks of one revision; without any, all of this does nothing."""

    in_transaction: bool
    """Env.py holds a transaction open."""
    locks: DeclaredLocks | None
    connection: Connection | None
    narrator: Narrator

    @classmethod
    def of(
        cls, step: RevisionStep, connection: Connection | None, narrator: Narrator, *, in_transaction: bool
    ) -> DeclaredLocking:
        """Return those of a step; none where the database has no such locks."""
        has_locks = connection is not None and connection.dialect.name == "postgresql"
        return cls(in_transaction, declared_by(step) if has_locks else None, connection, narrator)

    def wait(self) -> None:
        """Wait for old transactions; where env.py holds a transaction open, that must not get older for it."""
        connection = self.connection
        if self.locks is None or connection is None or self.in_transaction:
            return
        begun = connection.get_transaction()
        if begun is not None:
            begun.commit()  # Alembic's: it has read the version table, or made it, and goes on in a new one as well

        def ask(sql: str) -> list[tuple[Any, ...]]:
            with in_own_transaction(connection):
                return asking(connection)(sql)

        wait_for_old(self.locks, ask, clock=time.monotonic, sleep=time.sleep, waiting=self._waiting)

    def take(self) -> None:
        """Take them, in the revision's transaction."""
        if self.locks is not None and self.connection is not None:
            take(self.locks, asking(self.connection))

    def _waiting(self, holder: str) -> None:
        if self.narrator.progress.waiting_for != holder:
            self.narrator.tell("waiting", f"waiting for {holder}", waiting_for=holder)
