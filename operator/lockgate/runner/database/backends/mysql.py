"""MySQL and MariaDB: named locks of the server; every DDL statement is a commit.

Settings that only one of them knows stand in comments that only that one executes: ``/*M! ... */`` is for MariaDB,
``/*!80000 ... */`` for MySQL 8 (MariaDB passes over versions from 5.7 on).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lockgate.errors import (
    DatabaseReadOnly,
    InvalidConfiguration,
    LockgateError,
    TransactionPooler,
    UnsupportedDatabase,
)
from lockgate.runner.database.backends.backend import Ask, Backend, Examined, Facts, Key, Look, Room
from lockgate.runner.database.backends.named_lock import NamedLock, lock_name
from lockgate.runner.database.lock import Lock
from lockgate.runner.database.lock_holders import QUERY_LIMIT, LockHolder
from lockgate.runner.database.session_settings import Settings
from lockgate.runner.sql.values import without_values

if TYPE_CHECKING:
    from sqlalchemy.engine.url import URL

    from lockgate.runner.database.connection import OwnConnection

__all__ = ["OLDEST", "MySQL", "commits_by_itself", "judge_server"]

OLDEST = {"MariaDB": (10, 6), "MySQL": (8, 0)}
PROBES = 5
IDLE_SECONDS = 28800
"""The server's own default; installations set less."""

_FINGERPRINT = "concat_ws(' ', DATABASE(), @@hostname, @@port, @@datadir, @@server_id)"
_COMMENT = re.compile(r"/\*M?!\d*|/\*.*?(?:\*/|\Z)|--\s[^\n]*|#[^\n]*", re.DOTALL)
"""What is in ``/*! ... */`` is executed."""
_COMMITS = re.compile(
    r"(?:ALTER|ANALYZE|BEGIN|CACHE|CHANGE|CHECK|COMMIT|FLUSH|GRANT|IMPORT|INSTALL|LOAD\s+INDEX|LOCK|OPTIMIZE|RENAME"
    r"|REPAIR|RESET|REVOKE|START|STOP|TRUNCATE|UNINSTALL|UNLOCK|SET\s+PASSWORD"
    r"|(?:CREATE(?:\s+OR\s+REPLACE)?|DROP)\s+(?!TEMPORARY\b))\b",
    re.IGNORECASE,
)
"""Manual of MySQL 8.0, 15.3.3 "Statements That Cause an Implicit Commit"; MariaDB's list is the same for these."""


def commits_by_itself(statement: str) -> bool:
    """Return whether the server commits what was done before a statement, and mostly the statement itself."""
    return bool(_COMMITS.match(_COMMENT.sub(" ", statement).strip()))


class MySQL(Backend):
    """See `Backend`, which documents each of these."""

    spoken = "MySQL and MariaDB"
    rights = "with PROCESS and CONNECTION ADMIN (MySQL: CONNECTION_ADMIN)"
    keeps_history = False
    has_invalid_objects = False
    outlives_clients = True

    def limits(self, *, begins: bool | None) -> tuple[str, ...]:
        return (
            "MySQL and MariaDB commit every DDL statement by itself: a revision that fails half way stays half"
            " applied.",
            "No history is kept there, so each run imports the application, and a database that is ahead of its image"
            " is refused.",
        )

    def connect_arguments(self, url: URL, seconds: int) -> dict[str, Any]:
        name = "connection_timeout" if url.drivername.endswith("+mysqlconnector") else "connect_timeout"
        return {} if name in url.query else {name: seconds}

    def own(self, url: URL, role: str) -> URL:
        return url

    def prepare(self, ask: Ask, settings: Settings) -> None:
        # A session that waits for Python is not to be ended: its lock would go with it.
        wanted = [f"wait_timeout = {_whole(f'greatest(@@wait_timeout, {IDLE_SECONDS})')}"]
        if settings.lock_timeout_ms:
            seconds = max(1, math.ceil(settings.lock_timeout_ms / 1000))  # the server knows whole seconds only
            names = ("lock_wait_timeout", "innodb_lock_wait_timeout")
            wanted += [f"{name} = {_whole(f'least(@@{name}, {seconds})')}" for name in names]
        sql = "SET SESSION " + ", ".join(wanted)
        if limit := settings.statement_timeout_ms:
            statement = f"if(@@max_statement_time = 0, {limit / 1000}, least(@@max_statement_time, {limit / 1000}))"
            query = _whole(f"if(@@max_execution_time = 0, {limit}, least(@@max_execution_time, {limit}))")
            sql += f" /*M! , max_statement_time = {statement} */ /*!80000 , max_execution_time = {query} */"
        ask(sql)

    def prepare_own(self, ask: Ask, settings: Settings) -> None:
        # What init_connect may have set: a mode that reads quotes or empty texts otherwise, or returns no second row.
        ask(
            f"SET SESSION sql_mode = '', sql_select_limit = {2**64 - 1}, sql_big_selects = 1"
            " /*M! , max_statement_time = 0 */ /*!80000 , max_execution_time = 0 */"
        )
        self.prepare(ask, settings)

    def forbid_writes(self, ask: Ask) -> None:
        ask("SET SESSION TRANSACTION READ ONLY")

    def allow_writes(self, ask: Ask) -> None:
        ask("SET SESSION TRANSACTION READ WRITE")

    def limit_statements(self, ask: Ask, seconds: int) -> None:
        self.prepare(ask, Settings(statement_timeout_ms=seconds * 1000))

    def session_of(self, ask: Ask) -> int:
        return int(ask("SELECT CONNECTION_ID()")[0][0])

    def examine(self, connection: OwnConnection) -> Examined:
        fingerprint = str(connection.value(f"SELECT {_FINGERPRINT}"))
        # With something of the server's in the same statement: proxies answer a bare CONNECTION_ID() themselves.
        sessions = {connection.rows("SELECT CONNECTION_ID(), @@hostname")[0] for _ in range(PROBES)}
        return Examined(fingerprint, _objection(connection.rows, moved=len(sessions) > 1))

    def room(self, ask: Ask) -> Room:
        most = int(ask("SELECT @@max_user_connections")[0][0])
        return Room(most or None, "the user (max_user_connections)")

    def identity(self, connection: OwnConnection) -> str:
        # MariaDB has no such identifier: there, the address that the server gives itself.
        server = "@@hostname, @@port, @@server_id /*!80000 , @@server_uuid */"
        return str(connection.value(f"SELECT concat_ws(' ', DATABASE(), {server})") or "")

    def leader(self, connection: OwnConnection, schema: str, table: str) -> Lock:
        return NamedLock(connection.rows, lock_name("leader", _database(connection.rows), schema, table))

    def facts(self, ask: Ask, schema: str | None, table: str) -> Facts:
        fingerprint, session, found = ask(
            f"SELECT {_FINGERPRINT}, CONNECTION_ID(), coalesce(:schema, DATABASE())", schema=schema
        )[0]
        return Facts(str(fingerprint), int(session), str(found or ""), objection=_objection(ask, moved=False))

    def fence_key(self, facts: Facts, table: str) -> Key:
        return lock_name("fence", "", facts.schema, table)

    def fence(self, ask: Ask, key: Key) -> Lock:
        return NamedLock(ask, str(key))

    def look_again(self, ask: Ask, key: Key, following: Settings, name: str, *, commits_more: bool) -> Look:
        return Look(NamedLock(ask, str(key)).is_held())

    def release(self, ask: Ask, key: Key) -> None:
        NamedLock(ask, str(key)).release()

    def commits(self, statement: str) -> bool:
        return commits_by_itself(statement)

    def place(self, connection: OwnConnection, schema: str, table: str) -> str:
        found = connection.rows(
            "SELECT TABLE_SCHEMA FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = coalesce(nullif(:schema, ''), DATABASE()) AND TABLE_NAME = :table",
            schema=schema,
            table=table,
        )
        return str(found[0][0]) if found else ""

    def located(self, connection: OwnConnection, schema: str, table: str) -> tuple[str, tuple[str, ...]]:
        found = self.place(connection, schema, table)
        if not found:
            return "", ()
        rows = connection.rows(f"SELECT version_num FROM {_quoted(found)}.{_quoted(table)}".replace(":", "\\:"))
        return found, tuple(sorted(str(row[0]) for row in rows))

    def rows_of(self, connection: OwnConnection, schema: str, table: str) -> tuple[str, ...]:
        return self.located(connection, schema, table)[1]

    def default_schema(self, connection: OwnConnection) -> str:
        return _database(connection.rows)

    def is_there(self, connection: OwnConnection, kind: str, name: str) -> bool:
        catalog, column, depth = _CATALOGS[kind]
        *parts, own = name.split(".")
        conditions, values = [f"{column} = :own"], {"own": own}
        names = ("TABLE_SCHEMA", "TABLE_NAME") if depth == 2 else ("TABLE_SCHEMA",)
        for position, part in enumerate(reversed(parts)):
            conditions.append(f"{names[len(names) - 1 - position]} = :part{position}")
            values[f"part{position}"] = part
        if len(parts) < depth:
            conditions.append("TABLE_SCHEMA = DATABASE()")
        query = f"SELECT count(*) FROM information_schema.{catalog} WHERE {' AND '.join(conditions)}"
        return bool(connection.value(query, **values))

    def watch(self, connection: OwnConnection, session: int) -> tuple[str, int | None]:
        found = connection.rows(f"SELECT STATE FROM information_schema.PROCESSLIST WHERE ID = {int(session)}")
        state = str(found[0][0] or "") if found else ""
        return (state.removeprefix("Waiting for ") if state.startswith("Waiting for ") else ""), None

    def clear_the_way(self, connection: OwnConnection, session: int) -> None:
        """Do nothing: MySQL has no such work that holds locks."""

    def cancel(self, connection: OwnConnection, sessions: Iterable[int], *, end: bool) -> None:
        # Numbers of sessions are never given twice while the server runs. One that is gone is an error for KILL only.
        there = {int(row[0]) for row in connection.rows("SELECT ID FROM information_schema.PROCESSLIST")}
        for session in sorted(set(sessions) & there):
            connection.rows(f"KILL {'CONNECTION' if end else 'QUERY'} {int(session)}")

    def find_holders(
        self, connection: OwnConnection, leader: tuple[str, str], fence: tuple[str, str]
    ) -> tuple[LockHolder, ...]:
        names = {
            "leader": lock_name("leader", _database(connection.rows), *leader),
            "fence": lock_name("fence", "", *fence),
        }
        return tuple(holder for lock, name in names.items() for holder in _holders(connection.rows, lock, name))

    def others(self, connection: OwnConnection, known: Iterable[LockHolder]) -> tuple[str, ...]:
        return ()  # names of locks are visible only to who may read performance_schema.metadata_locks

    def end_session(self, connection: OwnConnection, holder: LockHolder) -> bool:
        # The server gives no number twice while it runs, and the address has the client's port in it.
        again = _holders(connection.rows, holder.lock, str(holder.key))
        if not again or (again[0].pid, again[0].address) != (holder.pid, holder.address):
            return False
        connection.rows(f"KILL CONNECTION {int(holder.pid)}")
        return True


_CATALOGS = {
    "table": ("TABLES", "TABLE_NAME", 1),
    "index": ("STATISTICS", "INDEX_NAME", 2),
    "column": ("COLUMNS", "COLUMN_NAME", 2),
}
"""For each kind of thing: where it is listed, by which column, and how many names can stand before its own."""


def _holders(ask: Ask, lock: str, name: str) -> tuple[LockHolder, ...]:
    session = ask(f"SELECT IS_USED_LOCK('{name}')")[0][0]
    if session is None:
        return ()
    found = ask(
        "SELECT USER, HOST, concat(COMMAND, ' for ', TIME, 's'), coalesce(INFO, '')"
        f" FROM information_schema.PROCESSLIST WHERE ID = {int(session)}"
    )
    user, address, state, query = map(str, found[0]) if found else ("", "", "", "")
    shown = without_values(query, "mysql")[:QUERY_LIMIT]
    return (LockHolder(lock, name, int(session), "", user, "", state, shown, address),)


def _whole(number: str) -> str:
    """Return SQL for a whole number: MySQL makes a decimal of two integers of which one has no sign, and takes none."""
    return f"CAST({number} AS UNSIGNED)"


def _database(ask: Ask) -> str:
    return str(ask("SELECT coalesce(DATABASE(), '')")[0][0])


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


_VARIABLES = (
    *("version", "version_comment", "read_only", "super_read_only", "wsrep_on", "tidb_version"),
    "group_replication_single_primary_mode",
)
_ASK_VARIABLES = f"SHOW VARIABLES WHERE Variable_name IN ({', '.join(repr(name) for name in _VARIABLES)})"


def _objection(ask: Ask, *, moved: bool) -> LockgateError | None:
    if not _database(ask):
        return InvalidConfiguration(
            "The database URL names no database.", advice="Write it behind the host, as in mysql://host/name."
        )
    return judge_server({str(name): str(value) for name, value in ask(_ASK_VARIABLES)}, moved=moved)


def judge_server(variables: Mapping[str, str], *, moved: bool) -> LockgateError | None:
    """Return why no migration may run on a server with these variables; ``moved``: statements met several sessions."""
    version = variables.get("version", "")
    product = "MariaDB" if "mariadb" in version.lower() else "MySQL"
    found = re.match(r"(\d+)\.(\d+)", version)
    if re.search("tidb|vitess", version + variables.get("version_comment", ""), re.IGNORECASE):
        return UnsupportedDatabase(
            f"The server says that it is {version!r}, not MySQL itself.",
            advice="Lockgate migrates PostgreSQL, MySQL, MariaDB and SQLite.",
        )
    if found is None or (int(found[1]), int(found[2])) < OLDEST[product]:
        oldest = ".".join(map(str, OLDEST[product]))
        return UnsupportedDatabase(
            f"The server is {product} {version}.", advice=f"Lockgate needs {product} {oldest} or newer."
        )
    if moved:
        return TransactionPooler(
            "The connection goes through a proxy that gives each statement another session of the server, where a"
            " session lock protects nothing.",
            advice="Give it a URL that leads to the server itself (on Kubernetes: spec.database.directUrlFrom).",
        )
    if _is_on(variables, "wsrep_on") or variables.get("group_replication_single_primary_mode", "ON").upper() == "OFF":
        return UnsupportedDatabase(
            "The server is one of several that all take writes (Galera, or Group Replication with several primaries):"
            " a lock on one of them means nothing to the others.",
            advice="Lockgate cannot keep two runners apart there: run `alembic upgrade` from one place only.",
        )
    if _is_on(variables, "read_only") or _is_on(variables, "super_read_only"):
        return DatabaseReadOnly(
            "The server is read-only (a replica, most likely) and takes no DDL.", advice="Point the URL at the primary."
        )
    return None


def _is_on(variables: Mapping[str, str], name: str) -> bool:
    return variables.get(name, "OFF").upper() not in ("OFF", "0", "")
