"""What a run asks of a database, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from lockgate.errors import LockgateError
from lockgate.runner.database.lock import Lock

if TYPE_CHECKING:
    from sqlalchemy.engine.url import URL

    from lockgate.runner.database.connection import OwnConnection
    from lockgate.runner.database.lock_holders import LockHolder
    from lockgate.runner.database.session_settings import Settings

__all__ = ["Ask", "Backend", "Examined", "Facts", "Key", "Look", "Room"]

Ask = Callable[..., "list[tuple[Any, ...]]"]
"""Runs one statement on some session and returns its rows; keyword arguments stand for ``:name`` in it."""

Key = int | str
"""Names a lock: a number, a name, or a file."""


class Facts(NamedTuple):
    """What is known of a session that env.py hands to Alembic."""

    fingerprint: str
    """The same text for every session of one database of one server."""
    session: int
    """The server's number of the session; 0 where there is no server."""
    schema: str
    """Where the version table is, or will be."""
    writes_history: bool = False
    keeps_statements: bool = False
    encoding: str = "UTF8"
    objection: LockgateError | None = None
    role: str = ""
    """As which the session works."""
    name: str = ""
    """The version table, as Alembic names it; quoted."""


class Examined(NamedTuple):
    """What is known of a server, as seen over one session of Lockgate's own."""

    fingerprint: str
    """As in `Facts`."""
    objection: LockgateError | None = None
    """Why no migration may run there."""
    pooled: bool = False
    """The connection goes through some pooler."""


class Room(NamedTuple):
    """How many sessions a login may have at the same time, and how many more there is room for."""

    most: int | None = None
    """None: no limit of its own."""
    limited: str = ""
    """What has that limit, in words."""
    free: int | None = None
    """About so many more; None where that cannot be seen."""


class Look(NamedTuple):
    """What is found before a commit."""

    fenced: bool
    """The fence is still ours."""
    may_write: bool = False
    """This session may write history."""
    may_keep: bool = False
    """It may record statements."""
    is_prepared: bool = False
    """It is set as wanted for the revision that follows; `Backend.prepare` would change nothing."""
    schema: str = ""
    """Where the version table is by now."""


class Backend(Protocol):
    """One kind of database."""

    spoken: ClassVar[str]
    """Its name, for people."""
    rights: ClassVar[str]
    """Which role may see and end the sessions of others: what follows "a role" in advice."""
    keeps_history: ClassVar[bool]
    """Whether there is a schema ``lockgate``: history, lineage, fast path."""
    has_invalid_objects: ClassVar[bool]
    """Whether indexes and constraints can be there and not be valid."""

    limits_statements: ClassVar[bool] = True
    """Whether there is a time-out for statements."""
    outlives_clients: ClassVar[bool] = False
    """Whether the server goes on with a statement whose client is gone."""

    def limits(self, *, begins: bool | None) -> tuple[str, ...]:
        """Return what it cannot give that PostgreSQL does, each a sentence.

        ``begins``: the driver begins a transaction when SQLAlchemy does, and not later; None where that is not known.
        """

    def connect_arguments(self, url: URL, seconds: int) -> dict[str, Any]:
        """Return what bounds the time to connect; the drivers call it differently."""

    def own(self, url: URL, role: str) -> URL:
        """Return the URL for a connection of Lockgate's own."""

    def prepare(self, ask: Ask, settings: Settings) -> None:
        """Set a session; a time-out that is shorter already stays."""

    def prepare_own(self, ask: Ask, settings: Settings) -> None:
        """Set a session of Lockgate's own, whatever the role, the database or the server give to new sessions."""
        self.prepare(ask, settings)

    def forbid_writes(self, ask: Ask) -> None:
        """Make a session, and the transaction in which it may be, read-only."""

    def allow_writes(self, ask: Ask) -> None:
        """Take that back."""

    def limit_statements(self, ask: Ask, seconds: int) -> None:
        """Let no statement of the session take longer."""

    def session_of(self, ask: Ask) -> int:
        """Return the server's number of the session."""

    def examine(self, connection: OwnConnection) -> Examined:
        """Look at the server; takes no lock, and opens no other session."""

    def is_shared(self, connection: OwnConnection, connect: Callable[[str], OwnConnection]) -> bool | None:
        """Return whether a pooler gives the session to other clients too; None where no other was to be had."""
        return False

    def rename(self, ask: Ask, settings: Settings) -> None:
        """Give a session of Lockgate's own another name, where the server shows such names."""
        return

    def room(self, ask: Ask) -> Room:
        """Return how many sessions there may be, and are."""
        return Room()

    def identity(self, connection: OwnConnection) -> str:
        """Return what tells the database from any other, also after a restart; empty where nothing does."""

    def leader(self, connection: OwnConnection, schema: str, table: str) -> Lock:
        """Return the leader lock for a version table as configured."""

    def facts(self, ask: Ask, schema: str | None, table: str) -> Facts:
        """Look at a session of env.py's."""

    def fence_key(self, facts: Facts, table: str) -> Key:
        """Return the key of the fence for a version table as found."""

    def fence(self, ask: Ask, key: Key) -> Lock:
        """Return the fence, on env.py's session."""

    def look_again(self, ask: Ask, key: Key, following: Settings, name: str, *, commits_more: bool) -> Look:
        """Look before a commit; where that costs nothing, name the session for the revision that follows.

        ``key`` is the fence, ``name`` the version table as in `Facts`. ``commits_more``: another commit of this session
        follows, so this one need not wait for the disk: the last one makes all of them durable.
        """

    def release(self, ask: Ask, key: Key) -> None:
        """Give a fence back with the session that goes back to env.py's pool."""

    def commits(self, statement: str) -> bool:
        """Return whether a statement commits by itself what was done before it."""

    def place(self, connection: OwnConnection, schema: str, table: str) -> str:
        """Return where `located` finds a version table, or nothing; reads no table that somebody may have locked."""

    def located(self, connection: OwnConnection, schema: str, table: str) -> tuple[str, tuple[str, ...]]:
        """Find a version table as Alembic would: (schema, rows); the schema is empty where there is no such table."""

    def rows_of(self, connection: OwnConnection, schema: str, table: str) -> tuple[str, ...]:
        """Return the rows of a version table; none where the table does not exist."""

    def default_schema(self, connection: OwnConnection) -> str:
        """Return where Alembic makes a version table that names no schema."""

    def is_there(self, connection: OwnConnection, kind: str, name: str) -> bool:
        """Return whether a ``table``, ``index`` or ``column`` is there."""

    def watch(self, connection: OwnConnection, session: int) -> tuple[str, int | None]:
        """Return what a session waits for, in words, and how far it is, in percent."""

    def blocking(self, connection: OwnConnection, session: int) -> tuple[int, ...]:
        """Return the sessions that hold what a session waits for, where the server tells."""
        return ()

    def clear_the_way(self, connection: OwnConnection, session: int) -> None:
        """Have the server cancel what works in the background, where a session of env.py waits for that."""

    def cancel(self, connection: OwnConnection, sessions: Iterable[int], *, end: bool) -> None:
        """Cancel what these sessions run, or end them."""

    def find_holders(
        self, connection: OwnConnection, leader: tuple[str, str], fence: tuple[str, str]
    ) -> tuple[LockHolder, ...]:
        """Return who holds the two locks, each named by (schema, version table): as configured, and as found."""

    def others(self, connection: OwnConnection, known: Iterable[LockHolder]) -> tuple[str, ...]:
        """Return a sentence for each other session of Lockgate that holds a lock."""

    def end_session(self, connection: OwnConnection, holder: LockHolder) -> bool:
        """End a session if it is still the one that was shown and still holds the lock; return whether told to."""
