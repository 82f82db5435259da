"""SQLite: a file, and a lock of the file system beside it. No server knows, cancels or ends anything."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lockgate.errors import Refused, UnsupportedDatabase
from lockgate.runner.database.backends.backend import Ask, Backend, Examined, Facts, Key, Look
from lockgate.runner.database.backends.file_lock import FileLock, read_holder
from lockgate.runner.database.lock import Holder, Lock
from lockgate.runner.database.lock_holders import LockHolder
from lockgate.runner.database.session_settings import Settings
from lockgate.runner.database.sql_text import quoted

if TYPE_CHECKING:
    from sqlalchemy.engine.url import URL

    from lockgate.runner.database.connection import OwnConnection

__all__ = ["SQLite"]


class SQLite(Backend):
    """See `Backend`, which documents each of these."""

    spoken = "SQLite"
    rights = "of the operating system that may"
    keeps_history = False
    has_invalid_objects = False
    limits_statements = False

    def limits(self, *, begins: bool | None) -> tuple[str, ...]:
        unless = "the revision has written rows before it" + (", or env.py makes the driver begin" * (begins is None))
        half_way = (
            f"Python's driver commits each DDL statement of SQLite by itself, unless {unless}: a revision that fails"
            " half way can stay half applied."
        )
        return (
            *(() if begins else (half_way,)),
            "No history is kept on SQLite, so each run imports the application, and a database that is ahead of its"
            " image is refused.",
            "The lock is one of the file system: on a network file system it may mean nothing to other machines.",
        )

    def connect_arguments(self, url: URL, seconds: int) -> dict[str, Any]:
        return {}

    def own(self, url: URL, role: str) -> URL:
        # To look must not make the file, as SQLite does. A run may: it, or the leader that it waits for, migrates.
        missing = bool(url.database) and not url.query and not os.path.exists(str(url.database))
        return url.set(database=":memory:") if missing and role not in ("waiting", "leader") else url

    def prepare(self, ask: Ask, settings: Settings) -> None:
        wanted = settings.lock_timeout_ms
        if wanted and ask("PRAGMA busy_timeout")[0][0] > wanted:
            ask(f"PRAGMA busy_timeout = {int(wanted)}")

    def forbid_writes(self, ask: Ask) -> None:
        ask("PRAGMA query_only = ON")

    def allow_writes(self, ask: Ask) -> None:
        ask("PRAGMA query_only = OFF")

    def limit_statements(self, ask: Ask, seconds: int) -> None:
        return

    def session_of(self, ask: Ask) -> int:
        return 0

    def examine(self, connection: OwnConnection) -> Examined:
        path = _path(connection.rows)
        return Examined(path, None if path else _IN_MEMORY)

    def identity(self, connection: OwnConnection) -> str:
        return _path(connection.rows)

    def leader(self, connection: OwnConnection, schema: str, table: str) -> Lock:
        return FileLock(_path(connection.rows), _mine(connection.named("leader")))

    def facts(self, ask: Ask, schema: str | None, table: str) -> Facts:
        path = _path(ask)
        attached = UnsupportedDatabase(
            f"env.py keeps the version table in the attached database {schema!r}.",
            advice="Lockgate's own connections do not attach it: leave version_table_schema out.",
        )
        objection = _IN_MEMORY if not path else attached if schema not in (None, "", "main") else None
        return Facts(path, 0, "main", objection=objection)

    def fence_key(self, facts: Facts, table: str) -> Key:
        return facts.fingerprint

    def fence(self, ask: Ask, key: Key) -> Lock:
        return FileLock(str(key), _mine("lockgate"))

    def look_again(self, ask: Ask, key: Key, following: Settings, name: str, *, commits_more: bool) -> Look:
        return Look(FileLock(str(key), _mine("lockgate")).is_held())

    def release(self, ask: Ask, key: Key) -> None:
        """Keep it: the lock ends with the process, not with a connection."""

    def commits(self, statement: str) -> bool:
        return False

    def place(self, connection: OwnConnection, schema: str, table: str) -> str:
        return "main" if schema in ("", "main") and self.is_there(connection, "table", table) else ""

    def located(self, connection: OwnConnection, schema: str, table: str) -> tuple[str, tuple[str, ...]]:
        if not self.place(connection, schema, table):
            return "", ()
        name = quoted(table).replace(":", "\\:")
        rows = connection.rows(f"SELECT version_num FROM main.{name}")
        return "main", tuple(sorted(str(row[0]) for row in rows))

    def rows_of(self, connection: OwnConnection, schema: str, table: str) -> tuple[str, ...]:
        return self.located(connection, schema, table)[1]

    def default_schema(self, connection: OwnConnection) -> str:
        return "main"

    def is_there(self, connection: OwnConnection, kind: str, name: str) -> bool:
        name = name.removeprefix("main.")
        if kind == "column":
            table, _, column = name.rpartition(".")
            found = connection.rows("SELECT name FROM pragma_table_info(:table)", table=table)
            return column.lower() in {str(row[0]).lower() for row in found}
        kinds = "'index'" if kind == "index" else "'table', 'view'"
        query = f"SELECT count(*) FROM main.sqlite_master WHERE type IN ({kinds}) AND lower(name) = lower(:name)"
        return bool(connection.value(query, name=name))

    def watch(self, connection: OwnConnection, session: int) -> tuple[str, int | None]:
        return "", None

    def clear_the_way(self, connection: OwnConnection, session: int) -> None:
        """Do nothing: nothing works in the background of a file."""

    def cancel(self, connection: OwnConnection, sessions: Iterable[int], *, end: bool) -> None:
        """Do nothing: `EnvironmentSessions.interrupt` stops statements of this process."""

    def find_holders(
        self,
        connection: OwnConnection,
        leader: tuple[str, str],
        fence: tuple[str, str],
    ) -> tuple[LockHolder, ...]:
        path = _path(connection.rows)
        holder = read_holder(path) if path else None
        if holder is None:
            return ()
        return (LockHolder("leader", path, holder.pid, holder.name, "", holder.since, "", ""),)

    def others(self, connection: OwnConnection, known: Iterable[LockHolder]) -> tuple[str, ...]:
        return ()

    def end_session(self, connection: OwnConnection, holder: LockHolder) -> bool:
        """Refuse: the number of a process means nothing in another container, and a signal there would hit anybody."""
        raise Refused(
            f"There is no server that could end the session of {holder.application_name}, pid {holder.pid}.",
            advice="End that process, or its pod, yourself: the lock is free as soon as the process is gone.",
        )


_IN_MEMORY = UnsupportedDatabase(
    "The SQLite database is in memory, where no other process can see it.", advice="Name a file in the database URL."
)


def _path(ask: Ask) -> str:
    """Return the absolute path of the database file; empty for one in memory."""
    for _, name, path in ask("PRAGMA database_list"):
        if name == "main":
            return os.path.realpath(path) if path else ""
    return ""


def _mine(name: str) -> Holder:
    """Describe this process to those who wait: a pid alone says little where containers share a volume."""
    return Holder(os.getpid(), f"{name} on {socket.gethostname()}", time.strftime("%H:%M:%S"))
