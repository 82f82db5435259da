"""Which statements of the revision that runs are committed before it ends.

A revision that leaves its transaction in the middle, for an autocommit block or by ``COMMIT``, and then fails is half
applied: the version table still names the revision before it, and running it again meets what it left behind. What is
committed is taken from the driver, which knows after each statement whether a transaction is open, and from the server,
which knows whether a transaction wrote anything.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["Ledger", "is_in_transaction", "is_repeatable", "only_reads"]

_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
_READS = re.compile(
    r"(?:SHOW|SET|RESET|BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|LOCK|UNLOCK|DISCARD|PRAGMA|USE|DESC|DESCRIBE)\b"
    r"|(?:SELECT|VALUES|TABLE|WITH|EXPLAIN)\b(?!.*\b(?:INSERT|UPDATE|DELETE|MERGE|INTO)\b)",
    re.IGNORECASE | re.DOTALL,
)
_CALL = re.compile(r"SELECT\b(?!.*\bFROM\b)", re.IGNORECASE | re.DOTALL)
_REPEATABLE = re.compile(
    r"CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+IF\s+NOT\s+EXISTS\b|DROP\s+INDEX\s+CONCURRENTLY\s+IF\s+EXISTS\b"
    r"|REINDEX\b[^;]*\bCONCURRENTLY\b",
    re.IGNORECASE,
)
_COMMITS = re.compile(r"(?:^|;)\s*COMMIT\b(?!\s+PREPARED)", re.IGNORECASE)


def only_reads(statement: str) -> bool:
    """Return whether a statement leaves nothing behind; a ``SELECT f()`` without a table may well do something."""
    text = _COMMENT.sub(" ", statement).strip(" \t\r\n;")
    return not text or (bool(_READS.match(text)) and not _CALL.match(text))


def is_repeatable(statement: str) -> bool:
    """Return whether this is index work that may simply be done again: what is invalid is dropped before."""
    text = _COMMENT.sub(" ", statement).strip(" \t\r\n;")
    return ";" not in text and bool(_REPEATABLE.match(text))


def is_in_transaction(connection: Any) -> bool | None:
    """Ask the driver of a DBAPI connection whether a transaction is open; None where it does not say."""
    driver = getattr(connection, "driver_connection", None) or connection
    if hasattr(driver, "is_in_transaction"):
        return bool(driver.is_in_transaction())  # asyncpg
    if isinstance(getattr(driver, "in_transaction", None), bool):
        return bool(driver.in_transaction)  # sqlite3, aiosqlite, MySQL's own connector
    if isinstance(getattr(driver, "server_status", None), int):
        return bool(driver.server_status & 1)  # PyMySQL and its kin: SERVER_STATUS_IN_TRANS of the last answer
    status = getattr(getattr(driver, "info", None), "transaction_status", None)
    return None if status is None else int(status) != 0  # psycopg and psycopg2: libpq's PQTRANS_IDLE


class Ledger:
    """Follows the statements of one revision, on all connections that it uses."""

    def __init__(self) -> None:
        self.committed: list[str] = []
        """Statements that are committed and wrote something, in order."""
        self.uncertain = False
        """The connection was lost during a commit: nobody knows whether the last of them were committed."""
        self._open: dict[int, list[str]] = {}
        self._last: tuple[int, list[str]] | None = None
        self._following = False

    def begin(self) -> None:
        """Start to follow a revision."""
        self.committed, self.uncertain, self._open, self._last, self._following = [], False, {}, None, True

    def end(self) -> tuple[tuple[str, ...], bool]:
        """Stop: its function has ended, well or not, and what is done from now on is done in its last transaction."""
        self._following = False
        return tuple(self.committed), self.uncertain

    def starts(self) -> None:
        """Note that another statement is sent: a commit before it is done."""
        self._last = None

    def has_open(self, key: int) -> bool:
        """Return whether a transaction with statements of the revision is open on this connection."""
        return self._following and bool(self._open.get(key))

    def ran(self, key: int, statement: str, *, in_transaction: bool) -> None:
        """Enter a statement that ended without an error, and left the connection inside a transaction or outside."""
        if not self._following:
            return
        pending = self._open.setdefault(key, [])
        if not only_reads(statement):
            pending.append(statement)
        if not in_transaction or _COMMITS.search(_COMMENT.sub(" ", statement)):
            self.committed += pending
            pending.clear()

    def commits(self, key: int, *, wrote: bool) -> None:
        """Note that the transaction of this connection is about to be committed."""
        pending = self._open.pop(key, [])
        if self._following and pending:
            self._last = (len(self.committed), pending)
            self.committed += pending if wrote else []

    def rolled_back(self, key: int) -> None:
        """Note that the transaction of this connection is taken back."""
        self._open.pop(key, None)
        self._last = None

    def committed_itself(self, key: int) -> None:
        """Note that a statement that failed had committed what was done before it."""
        self.committed += self._open.pop(key, []) if self._following else []

    def lost(self, key: int, statement: str) -> None:
        """Note that the connection was lost in a statement that commits by itself: perhaps it has, perhaps not."""
        if self._following:
            self.committed += [*self._open.pop(key, []), statement]
            self.uncertain = True

    def failed(self, *, lost: bool) -> None:
        """Note an error between statements: of the commit, if one was under way; ``lost``: the connection is gone."""
        if self._following and self._last is not None:
            if lost:
                self.uncertain = True
            else:
                del self.committed[self._last[0] :]
            self._last = None
