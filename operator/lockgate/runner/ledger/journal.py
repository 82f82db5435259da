"""Takes what a revision commits before its end to the database, and leads a revision past what is committed already.

For a revision with one transaction this sends nothing. A commit in the middle gets its rows of lockgate.statements
within the transaction that it commits. In an autocommit block, a statement that can run in a transaction gets one, for
itself and its row; another one is announced before and settled after.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from lockgate.errors import HalfApplied
from lockgate.runner.database.backends import backend_of, kind_of
from lockgate.runner.database.dbapi import dbapi_of, raw
from lockgate.runner.database.privileges import MAY_KEEP
from lockgate.runner.ledger.committed import (
    Ledger,
    commits_by_itself,
    commits_inside,
    is_autonomous,
    is_in_transaction,
    is_repeatable,
)
from lockgate.runner.ledger.half_applied import by_hand
from lockgate.runner.ledger.implicit_commits import Follower, keeps_statements
from lockgate.runner.ledger.resumption import (
    fails_whole,
    fits_transaction,
    instead,
    is_harmless,
    is_undone_unseen,
    proof,
    same,
)
from lockgate.runner.records.statements import DONE, STARTED, Kept, Part, forget_one, shortened, upsert

__all__ = ["BELOW", "Journal"]

BELOW = "(work over the connection of the driver, which it committed there)"
"""Stands for the statements that a revision sends below SQLAlchemy: they can be neither listed nor left out."""


class Journal:
    """Hears of every statement of env.py's sessions; follows those of the revision that runs."""

    def __init__(self, salt: str) -> None:
        """Take the salt of the digests."""
        self._ledger = Ledger(salt)
        self._follower = Follower(self._ledger)
        self._part = Part("", "")
        self._earlier: dict[int, Kept] = {}
        self._left: tuple[Kept, ...] = ()
        self._running: dict[int, Kept] = {}
        self._wrapped: set[int] = set()
        """Connections on which a transaction was begun for one statement of an autocommit block."""
        self.refusal: HalfApplied | None = None
        """The revision is not what it was: it stays refused whatever catches this."""
        self.is_marked = False
        """There are rows of this revision, which its last transaction has to delete."""
        self.is_taken_back = False
        """The last that the revision did was to roll back what it had done."""
        self.unrecorded: dict[str, bool] = {}
        """Revisions that committed in the middle without the right to record it; True: it matters to the next try."""
        self.resumed: dict[str, int] = {}
        """Revisions that were continued, and behind how many statements."""

    @property
    def is_following(self) -> bool:
        """Whether a revision runs."""
        return self._ledger.is_following

    @property
    def revision(self) -> str:
        """The revision that runs, or ran last."""
        return self._part.revision

    def begin(self, part: Part, earlier: Iterable[Kept]) -> None:
        """Start to follow a revision, past what was committed ``earlier``."""
        self._left = tuple(earlier)
        self._part, self._earlier = part, {row.position: row for row in self._left}
        self._running, self._wrapped, self.refusal, self.is_taken_back = {}, set(), None, False
        self.is_marked = bool(self._earlier)
        self._ledger.begin()

    def check_end(self) -> None:
        """Refuse where the revision caught our refusal, or ended before a statement that is committed."""
        if self.refusal:
            raise self.refusal
        if self._earlier:
            self._refuse("it ended without a statement that is committed", next(iter(self._earlier.values())))

    def end(self) -> tuple[tuple[Kept, ...], bool]:
        """Stop; return what is committed, in order, and whether the connection was lost in the last commit."""
        return self._ledger.end()

    def before(self, connection: Any, statement: str, parameters: Any) -> str | None:
        """Take note of a statement that is about to run; return what to send instead where it is committed."""
        if not self._ledger.is_following:
            return None
        if not keeps_statements(connection):
            self.unrecorded.setdefault(self._part.revision, False)
            self._follower.before(connection, statement, parameters)
            return None
        dbapi = dbapi_of(connection)
        kept = self._ledger.starts(statement, parameters)
        self.is_taken_back &= kept is None
        if kept is None:
            if self._ledger.has_open(id(dbapi)) and commits_inside(statement):
                self._record(dbapi, self._ledger.open(id(dbapi)))
            return None
        if self.refusal:
            raise self.refusal
        earlier = self._earlier.pop(kept.position, None)
        if earlier is not None and self._is_done(dbapi, earlier, statement, parameters):
            self.resumed[self._part.revision] = self.resumed.get(self._part.revision, 0) + 1
            return instead(earlier)
        self._running[id(dbapi)] = kept
        if commits_by_itself(dbapi):
            self._announce(dbapi, kept, statement)
        elif commits_inside(statement):
            self._record(dbapi, (*self._ledger.open(id(dbapi)), kept._replace(state=STARTED)))
        return None

    def _is_done(self, dbapi: Any, row: Kept, statement: str, parameters: Any) -> bool:
        if not same(row, statement, parameters):
            self._refuse("at the place of a statement that is committed it sends another one, or other parameters", row)
        if row.state == DONE and not is_undone_unseen(row, self._left):
            return True
        question = None if is_repeatable(statement) and row.state != DONE else proof(statement)
        return question is not None and bool(raw(dbapi, question)[0][0])

    def _refuse(self, how: str, row: Kept) -> None:
        self.refusal = HalfApplied(
            f"Revision {self._part.revision} is half applied and cannot be continued: {how}."
            f" Committed there: {shortened(row.text)}.",
            advice=by_hand(self._part),
        )
        raise self.refusal

    def _announce(self, dbapi: Any, kept: Kept, statement: str) -> None:
        """Prepare the record of a statement that would be committed as it ends."""
        if not raw(dbapi, f"SELECT {MAY_KEEP}")[0][0]:
            self._cannot_record((kept,))
        elif fits_transaction(statement):
            raw(dbapi, "BEGIN")
            self._wrapped.add(id(dbapi))
        else:
            question = proof(statement)
            if question is None or not raw(dbapi, question)[0][0]:  # or it would prove nothing later
                self._record(dbapi, (kept._replace(state=STARTED),))

    def after(self, connection: Any, cursor: Any, statement: str) -> None:
        """Take note of a statement that succeeded."""
        if not self._ledger.is_following:
            return
        if not keeps_statements(connection):
            self._follower.after(connection, statement)
            return
        dbapi = dbapi_of(connection)
        key, kept = id(dbapi), self._running.pop(id(dbapi), None)
        within = is_in_transaction(dbapi)
        if kept is not None:
            # What the revision has read may be different once this is committed, and nobody can read it as it was.
            goes_by = cursor.description is not None or (self._ledger.has_read and not is_harmless(statement))
            kept = kept._replace(row_count=_rows(cursor), returned_rows=goes_by)
            if key in self._wrapped:
                self._record(dbapi, (kept,))
                raw(dbapi, "COMMIT")
                self._wrapped.discard(key)
                within = is_in_transaction(dbapi)
            elif is_autonomous(dbapi, within) or commits_inside(statement):
                self._record(dbapi, (kept,))
                within = is_in_transaction(dbapi)
        if within is None:
            within = connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT"
        self._ledger.ran(key, statement, kept, in_transaction=within)

    def commits(self, connection: Any) -> None:
        """Record what the transaction that is about to be committed contains of a revision that goes on."""
        if not keeps_statements(connection):
            self._follower.commits(connection)
            return
        self._commits(dbapi_of(connection))

    def commits_below(self, dbapi: Any) -> None:
        """Record a commit that the revision makes through the driver itself, and work that nobody has seen."""
        if not self._ledger.is_following or is_in_transaction(dbapi) is False:
            return
        unseen = self._ledger.starts(BELOW)
        assert unseen is not None  # noqa: S101  # it is no query
        self._ledger.ran(id(dbapi), BELOW, unseen._replace(returned_rows=True), in_transaction=True)
        if backend_of(kind_of(dbapi)).keeps_history:
            self._commits(dbapi)
        else:
            self._ledger.commits(id(dbapi), wrote=True)

    def rolled_back_below(self, dbapi: Any) -> None:
        """Note that the revision takes a transaction back through the driver itself."""
        self._ledger.rolled_back(id(dbapi))

    def _commits(self, dbapi: Any) -> None:
        if not self._ledger.has_open(id(dbapi)):
            return
        try:
            wrote, may = raw(dbapi, f"SELECT txid_current_if_assigned() IS NOT NULL, {MAY_KEEP}")[0]
        except Exception:  # of a transaction that failed nothing is committed
            self._ledger.rolled_back(id(dbapi))
            return
        if wrote:
            self._record(dbapi, self._ledger.open(id(dbapi)), may=may)
        self._ledger.commits(id(dbapi), wrote=wrote)

    def _record(self, dbapi: Any, rows: tuple[Kept, ...], *, may: bool | None = None) -> None:
        if may is None:
            may = raw(dbapi, f"SELECT {MAY_KEEP}")[0][0]
        if may and rows:
            raw(dbapi, upsert(self._part, rows))
            self.is_marked = True
        elif rows:
            self._cannot_record(rows)

    def _cannot_record(self, rows: tuple[Kept, ...]) -> None:
        matters = not all(is_harmless(row.text) for row in rows)
        self.unrecorded[self._part.revision] = matters or self.unrecorded.get(self._part.revision, False)

    def rolled_back(self, connection: Any) -> None:
        """Note that a transaction is taken back."""
        key = id(dbapi_of(connection))
        self.is_taken_back = self._ledger.has_open(key)
        self._ledger.rolled_back(key)

    def savepoint(self, connection: Any, name: str) -> None:
        """Note a savepoint."""
        self._ledger.savepoint(id(dbapi_of(connection)), name)

    def rolled_back_to(self, connection: Any, name: str) -> None:
        """Note that what came after a savepoint is taken back."""
        self._ledger.rolled_back_to(id(dbapi_of(connection)), name)

    def failed(self, connection: Any, statement: str | None, *, lost: bool) -> None:
        """Note an error: of a statement, or between statements."""
        if statement is None:
            self._ledger.failed(lost=lost)
        elif connection is not None and not keeps_statements(connection):
            self._follower.failed(connection, statement, lost=lost)
        elif connection is not None and not lost and not connection.closed and not connection.invalidated:
            dbapi = dbapi_of(connection)
            kept = self._running.pop(id(dbapi), None)
            with contextlib.suppress(Exception):  # its row stays `started`: then nobody can tell
                self._take_back(dbapi, kept)

    def _take_back(self, dbapi: Any, kept: Kept | None) -> None:
        if id(dbapi) in self._wrapped:
            self._wrapped.discard(id(dbapi))
            raw(dbapi, "ROLLBACK")
        elif kept is not None and self.is_marked and commits_by_itself(dbapi) and fails_whole(kept.text):
            raw(dbapi, forget_one(self._part, kept.position))


def _rows(cursor: Any) -> int:
    found = getattr(cursor, "rowcount", -1)
    return found if isinstance(found, int) else -1
