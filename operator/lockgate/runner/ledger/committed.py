"""Which statements of the revision that runs are committed before it ends.

A revision that leaves its transaction in the middle, for an autocommit block or by ``COMMIT``, and then fails is half
applied: the version table still names the revision before it, and running it again meets what it left behind. What is
committed is taken from the driver, which knows after each statement whether a transaction is open, and from the server,
which knows whether a transaction wrote anything. `journal` takes what this finds to the database.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from lockgate.runner.database.dbapi import dbapi_of
from lockgate.runner.records.statements import STARTED, TEXT_LIMIT, Kept, digest
from lockgate.runner.sql.lexer import without_comments, without_literals
from lockgate.runner.sql.values import masked_values

__all__ = [
    "Ledger",
    "bare",
    "commits_by_itself",
    "commits_inside",
    "fails_within",
    "is_autonomous",
    "is_in_transaction",
    "is_repeatable",
    "only_reads",
    "reads_table",
]

LONGEST_TEXT = 100_000
"""Characters of a statement up to which all of it is kept until its revision ends."""

_READS = re.compile(
    r"(?:SHOW|SET|RESET|BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|LOCK|UNLOCK|DISCARD|PRAGMA|USE|DESC|DESCRIBE)\b"
    r"|(?:SELECT|VALUES|TABLE|WITH|EXPLAIN)\b(?!.*\b(?:INSERT|UPDATE|DELETE|MERGE|INTO)\b)",
    re.IGNORECASE | re.DOTALL,
)
_TABLE = re.compile(
    r"\b(?:FROM|JOIN|TABLE)\s+(?:ONLY\s+)?(?!\(|LATERAL\b|pg_|\"?(?:pg_catalog|information_schema)\b)[\w\"]",
    re.IGNORECASE,
)
_CALL = re.compile(r"SELECT\b(?!.*\bFROM\b)", re.IGNORECASE | re.DOTALL)
_REPEATABLE = re.compile(
    r"CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+IF\s+NOT\s+EXISTS\b|DROP\s+INDEX\s+CONCURRENTLY\s+IF\s+EXISTS\b"
    r"|REINDEX\b[^;]*\bCONCURRENTLY\b|ALTER\s+TYPE\b[^;]*\bADD\s+VALUE\s+IF\s+NOT\s+EXISTS\b"
    r"|CREATE\s+EXTENSION\s+IF\s+NOT\s+EXISTS\b|REFRESH\s+MATERIALIZED\s+VIEW\b|(?:VACUUM|ANALYZE)\b",
    re.IGNORECASE,
)
_COMMITS = re.compile(r"(?:^|;)\s*COMMIT\b(?!\s+PREPARED)|^END\b", re.IGNORECASE)
_TAKES_BACK = re.compile(r"(?:ROLLBACK|ABORT)\b(?!\s+PREPARED)", re.IGNORECASE)
_TO_SAVEPOINT = re.compile(r"ROLLBACK\b.*\bTO\b", re.IGNORECASE | re.DOTALL)


@functools.lru_cache(maxsize=4)  # a statement that runs is looked at from several sides
def bare(statement: str) -> str:
    """Return a statement without comments and without what surrounds it."""
    return without_comments(statement).strip(" \t\r\n;")


def only_reads(statement: str) -> bool:
    """Return whether a statement leaves nothing behind; a ``SELECT f()`` without a table may well do something."""
    text = bare(statement)
    return not text or (bool(_READS.match(text)) and not _CALL.match(text))


def reads_table(statement: str) -> bool:
    """Return whether a query reads what a revision may have changed; the catalogue does not count."""
    text = bare(statement)
    return text[:3].upper() not in ("SET", "LOC") and bool(_TABLE.search(text))


def is_repeatable(statement: str) -> bool:
    """Return whether this may simply be done again; of indexes, what is invalid is dropped before."""
    text = bare(statement)
    return ";" not in text and bool(_REPEATABLE.match(text))


def is_in_transaction(connection: Any) -> bool | None:
    """Ask the driver of a DBAPI connection whether a transaction is open; None where it does not say."""
    driver = getattr(connection, "driver_connection", None) or connection
    if hasattr(driver, "is_in_transaction"):
        return bool(driver.is_in_transaction())  # asyncpg
    if isinstance(getattr(driver, "in_transaction", None), bool):
        return bool(driver.in_transaction)  # sqlite3, aiosqlite, MySQL's own connector
    if isinstance(getattr(driver, "server_status", None), int) and type(driver).__module__.split(".")[0] != "asyncmy":
        return bool(driver.server_status & 1)  # PyMySQL, aiomysql: SERVER_STATUS_IN_TRANS; asyncmy never takes it back
    status = getattr(getattr(driver, "info", None), "transaction_status", None)
    return None if status is None else int(status) != 0  # psycopg and psycopg2: libpq's PQTRANS_IDLE


def fails_within(connection: Any) -> bool:
    """Ask whether a revision that has just failed over a connection of SQLAlchemy's was in a transaction.

    That one is taken back then: by the server where the session is lost, else by Alembic or env.py, which may not
    commit it any more. Outside of one, what the revision did is committed, or nothing was done over this connection.
    """
    if connection is None:
        return False
    if connection.closed or connection.invalidated:
        return True
    within = is_in_transaction(dbapi_of(connection))
    return connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT" if within is None else within


def commits_by_itself(connection: Any) -> bool:
    """Ask a DBAPI connection whether its next statement is committed as it ends."""
    return is_autonomous(connection, is_in_transaction(connection))


def is_autonomous(connection: Any, is_inside: bool | None) -> bool:
    """Return the same where it is known whether a transaction is open; each answer of a driver takes time."""
    if getattr(connection, "autocommit", False):
        return is_inside is not True
    # After a COMMIT statement, psycopg2 and SQLAlchemy's adapter for asyncpg believe in the transaction that is over.
    believes = getattr(connection, "status", None) == PSYCOPG2_BEGUN or bool(
        getattr(connection, "_started", getattr(connection, "_transaction", None))
    )
    return believes and is_inside is False


PSYCOPG2_BEGUN = 2
"""psycopg2.extensions.STATUS_BEGIN."""


@functools.lru_cache(maxsize=4)
def commits_inside(statement: str) -> bool:
    """Return whether a statement is, or contains, a COMMIT."""
    text = bare(statement)
    lower = text.lower()  # a word is found in megabytes sooner than an expression
    if not ("commit" in lower or lower.startswith("end")) or not _COMMITS.search(text):
        return False
    # The body of a procedure commits when that is called, and a text about git never.
    return bool(_COMMITS.search(without_literals(text).strip(" \t\r\n;")))


class Ledger:
    """Follows the statements of one revision, on all connections that it uses."""

    def __init__(self, salt: str = "") -> None:
        """Take the ``salt`` of the digests: anything that nobody can guess."""
        self._salt = salt
        self.committed: list[Kept] = []
        """Statements that are committed and wrote something, in order."""
        self.uncertain = False
        """The connection was lost during a commit: nobody knows whether the last of them were committed."""
        self.has_read = False
        """The revision has read a table, and may go by what it found."""
        self._open: dict[int, list[Kept]] = {}
        self._savepoints: dict[tuple[int, str], int] = {}
        self._last: tuple[int, list[Kept]] | None = None
        self.is_following = False
        """A revision runs."""
        self._position = 0

    def begin(self) -> None:
        """Start to follow a revision."""
        self.committed, self.uncertain, self._open, self._last, self.is_following = [], False, {}, None, True
        self._savepoints, self._position, self.has_read = {}, 0, False

    def end(self) -> tuple[tuple[Kept, ...], bool]:
        """Stop: its function has ended, well or not, and what is done from now on is done in its last transaction."""
        self.is_following = False
        committed, self.committed = tuple(self.committed), []
        return committed, self.uncertain

    def starts(self, statement: str, parameters: Any = (), dialect: str = "postgresql") -> Kept | None:
        """Note that another statement is sent: a commit before it is done. None where it is not of interest."""
        self._last = None
        if not self.is_following:
            return None
        if only_reads(statement):
            self.has_read |= reads_table(statement)
            return None
        self._position += 1
        # A data migration may send more than the process has memory for; the semicolon says that more came after it.
        text = statement
        if len(statement) > LONGEST_TEXT:
            text = f"{masked_values(statement, dialect)[:TEXT_LIMIT]} ; ..."
        elif dialect != "postgresql":  # what is kept is masked as PostgreSQL's text, and shown so
            text = masked_values(statement, dialect)
        return Kept(self._position, text, self._salt, digest(self._salt, statement, parameters))

    def has_open(self, key: int) -> bool:
        """Return whether a transaction with statements of the revision is open on this connection."""
        return self.is_following and bool(self._open.get(key))

    def open(self, key: int) -> tuple[Kept, ...]:
        """Return the statements of the transaction that is open on this connection."""
        return tuple(self._open.get(key, ()))

    def ran(self, key: int, statement: str, kept: Kept | None, *, in_transaction: bool) -> None:
        """Enter a statement that ended without an error, and left the connection inside a transaction or outside."""
        if not self.is_following:
            return
        pending = self._open.setdefault(key, [])
        if _TAKES_BACK.match(bare(statement)):
            self._taken_back(pending, partly=bool(_TO_SAVEPOINT.match(bare(statement))))
        if kept is not None:
            pending.append(kept)
        if not in_transaction or commits_inside(statement):
            self.committed += pending
            pending.clear()

    def _taken_back(self, pending: list[Kept], *, partly: bool) -> None:
        """Follow a ROLLBACK statement; it does not say which statements came after the savepoint that it names."""
        pending[:] = [kept._replace(state=STARTED) for kept in pending] if partly else []

    def savepoint(self, key: int, name: str) -> None:
        """Note a savepoint of SQLAlchemy's."""
        self._savepoints[key, name] = len(self._open.get(key, ()))

    def rolled_back_to(self, key: int, name: str) -> None:
        """Note that what came after a savepoint is taken back."""
        del self._open.get(key, [])[self._savepoints.get((key, name), 0) :]

    def commits(self, key: int, *, wrote: bool) -> None:
        """Note that the transaction of this connection is about to be committed."""
        pending = self._open.pop(key, [])
        if self.is_following and pending:
            self._last = (len(self.committed), pending)
            self.committed += pending if wrote else []

    def rolled_back(self, key: int) -> None:
        """Note that the transaction of this connection is taken back."""
        self._open.pop(key, None)
        self._last = None

    def committed_itself(self, key: int, *last: Kept) -> None:
        """Note that a statement that failed had committed what was done before it, and perhaps itself (``last``)."""
        if self.is_following:
            self.committed += [*self._open.pop(key, []), *last]

    def failed(self, *, lost: bool) -> None:
        """Note an error between statements: of the commit, if one was under way; ``lost``: the connection is gone."""
        if self.is_following and self._last is not None:
            if lost:
                self.uncertain = True
            else:
                del self.committed[self._last[0] :]
            self._last = None
