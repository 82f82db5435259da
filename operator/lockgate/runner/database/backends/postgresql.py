"""PostgreSQL: session advisory locks, transactional DDL, a schema of Lockgate's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from lockgate.errors import DatabaseReadOnly
from lockgate.runner.database.backends import postgresql_holders as holders
from lockgate.runner.database.backends.backend import Ask, Backend, Examined, Facts, Key, Look, Room
from lockgate.runner.database.backends.postgresql_server import (
    FINGERPRINT,
    examine,
    identity,
    is_shared,
    objection,
    room,
)
from lockgate.runner.database.lock import AdvisoryLock, Lock, fence_key, holds, leader_key
from lockgate.runner.database.privileges import MAY_KEEP, MAY_WRITE
from lockgate.runner.database.session_settings import (
    PLAIN_TRANSACTIONS,
    Settings,
    application_name,
    is_kept,
    named_and_read,
    own_settings_statement,
    settings_statement,
)
from lockgate.runner.database.sql_text import literal, quoted

if TYPE_CHECKING:
    from sqlalchemy.engine.url import URL

    from lockgate.runner.database.connection import OwnConnection
    from lockgate.runner.database.lock_holders import LockHolder

__all__ = ["PostgreSQL"]


def _schema_of(relation: str) -> str:
    """Return an SQL expression for the schema of a relation, which is SQL as well: a parameter or a literal.

    Functions, as a join with pg_namespace would be planned anew before each commit of a revision. The first of them
    quotes the name where that needs it, or always where quote_all_identifiers is on.
    """
    named = f"(pg_identify_object(CAST('pg_catalog.pg_class' AS regclass), to_regclass({relation}), 0)).schema"
    return f"(parse_ident({named}))[1]"


_FACTS = (
    f"SELECT {FINGERPRINT} AS place, pg_backend_pid(), pg_is_in_recovery(), {MAY_WRITE} AS writes, {MAY_KEEP} AS keeps,"
    " CASE pg_client_encoding() WHEN 'UTF8' THEN getdatabaseencoding() ELSE pg_client_encoding() END, current_user,"
    f" coalesce({_schema_of('CAST(:name AS text)')}, CAST(:schema AS text), current_schema(), 'public') AS found"
)
_UNHURRIED = "set_config('synchronous_commit', 'off', true)"
"""SQL: lets this transaction's commit return before it is on disk. What a crash of the server loses of it is the end of
the history, in order and whole, as it is all of it where Alembic commits once. PostgreSQL's manual, 30.4."""
_RELATION = (
    "SELECT count(*) FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid"
    " WHERE c.oid = to_regclass(CAST(:name AS text)) AND strpos(CAST(:kinds AS text), CAST(c.relkind AS text)) > 0"
    " AND coalesce(i.indisvalid, true)"
)
_COLUMN = (
    "SELECT count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = to_regclass(CAST(:name AS text))"
    " AND a.attname = :column AND a.attnum > 0 AND NOT a.attisdropped"
)
_KINDS = {"table": "rpfvm", "index": "iI"}

_VACUUMS = (
    "SELECT p.pid FROM pg_catalog.pg_stat_progress_vacuum p"
    " UNION ALL SELECT p.pid FROM pg_catalog.pg_stat_progress_analyze p"
)
_VACUUMED = (
    "SELECT DISTINCT CAST(CAST(w.relation AS regclass) AS text), CAST(s.setting AS integer)"
    " FROM pg_catalog.pg_locks w JOIN pg_catalog.pg_locks v ON v.relation = w.relation AND v.database = w.database"
    " JOIN pg_catalog.pg_settings s ON s.name = 'deadlock_timeout'"
    " WHERE w.pid = {pid} AND NOT w.granted AND v.granted AND v.mode = 'ShareUpdateExclusiveLock'"
    f" AND v.pid = ANY (pg_blocking_pids({{pid}})) AND v.pid IN ({_VACUUMS})"
)
_WAIT_IN_PLACE = """DO $evict$ BEGIN
    PERFORM set_config('lock_timeout', '{patience}ms', true);
    LOCK TABLE ONLY {table} IN SHARE UPDATE EXCLUSIVE MODE;
EXCEPTION WHEN lock_not_available OR insufficient_privilege OR undefined_table OR wrong_object_type THEN NULL;
END $evict$"""
_BLOCKERS = (
    "SELECT a.pid, coalesce(nullif(a.application_name, ''),"
    f" CASE WHEN a.pid IN ({_VACUUMS}) THEN 'autovacuum' ELSE '' END), to_char(a.xact_start, 'HH24:MI:SS'), l.relation"
    " FROM unnest(pg_blocking_pids({pid})) AS blocking (pid) JOIN pg_catalog.pg_stat_activity a USING (pid)"
    " LEFT JOIN LATERAL (SELECT CAST(CAST(w.relation AS regclass) AS text) AS relation FROM pg_catalog.pg_locks w"
    " WHERE w.pid = {pid} AND NOT w.granted AND w.relation IS NOT NULL LIMIT 1) l ON true LIMIT 3"
)
_BUILD = (
    "SELECT phase, CASE WHEN blocks_total > 0 THEN CAST(100 * blocks_done / blocks_total AS integer) END"
    " FROM pg_catalog.pg_stat_progress_create_index WHERE pid = {pid}"
)


class PostgreSQL(Backend):
    """See `Backend`, which documents each of these."""

    spoken = "PostgreSQL"
    rights = "in pg_read_all_stats and pg_signal_backend"
    keeps_history = True
    has_invalid_objects = True

    def limits(self, *, begins: bool | None) -> tuple[str, ...]:
        return ()

    def connect_arguments(self, url: URL, seconds: int) -> dict[str, Any]:
        driver = url.drivername.partition("+")[2]
        if driver in ("asyncpg", "pg8000"):
            prepares_none = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
            return {"timeout": seconds, **(prepares_none if driver == "asyncpg" else {})}
        return {} if "connect_timeout" in url.query else {"connect_timeout": seconds}

    def own(self, url: URL, role: str) -> URL:
        return url

    def prepare(self, ask: Ask, settings: Settings) -> None:
        ask(settings_statement(settings))

    def prepare_own(self, ask: Ask, settings: Settings) -> None:
        ask(PLAIN_TRANSACTIONS)
        ask(own_settings_statement(settings))

    def forbid_writes(self, ask: Ask) -> None:
        ask("SET default_transaction_read_only = on")

    def allow_writes(self, ask: Ask) -> None:
        ask("RESET default_transaction_read_only")

    def limit_statements(self, ask: Ask, seconds: int) -> None:
        ask(f"SET statement_timeout = '{int(seconds)}s'")

    def session_of(self, ask: Ask) -> int:
        return int(ask("SELECT pg_backend_pid()")[0][0])

    def examine(self, connection: OwnConnection) -> Examined:
        server = examine(connection)
        return Examined(server.fingerprint, objection(server), server.pooled)

    def is_shared(self, connection: OwnConnection, connect: Callable[[str], OwnConnection]) -> bool | None:
        return is_shared(connection, connect)

    def rename(self, ask: Ask, settings: Settings) -> None:
        ask(f"SELECT set_config('application_name', {literal(application_name(settings))}, false)".replace(":", "\\:"))

    def room(self, ask: Ask) -> Room:
        return room(ask)

    def identity(self, connection: OwnConnection) -> str:
        return identity(connection)

    def leader(self, connection: OwnConnection, schema: str, table: str) -> Lock:
        return AdvisoryLock(connection.rows, leader_key(schema, table))

    def facts(self, ask: Ask, schema: str | None, table: str) -> Facts:
        # As Alembic will find it: in the schema named, else by the session's search_path.
        name = _qualified(schema, table)
        fingerprint, pid, recovery, writes, keeps, encoding, role, found = ask(_FACTS, name=name, schema=schema)[0]
        standby = DatabaseReadOnly(
            "env.py connects to a standby, which takes no DDL.", advice="Point it at the primary."
        )
        return Facts(fingerprint, pid, found, writes, keeps, encoding, standby if recovery else None, role, name)

    def fence_key(self, facts: Facts, table: str) -> Key:
        return fence_key(facts.schema, table)

    def fence(self, ask: Ask, key: Key) -> Lock:
        return AdvisoryLock(ask, int(key))

    def look_again(self, ask: Ask, key: Key, following: Settings, name: str, *, commits_more: bool) -> Look:
        # The rights are asked for again: a revision may have SET ROLE.
        question = (
            f"SELECT ({holds(int(key))}) AS fenced, {MAY_WRITE} AS writes, {MAY_KEEP} AS keeps,"
            f" {_schema_of(literal(name))} AS place, {_UNHURRIED if commits_more else 'NULL'} AS durable"
        )
        fenced, may_write, may_keep, schema, _, _, *found = ask(f"{question}, {named_and_read(following)}")[0]
        return Look(bool(fenced), bool(may_write), bool(may_keep), is_kept(following, found), schema or "")

    def release(self, ask: Ask, key: Key) -> None:
        ask(f"SELECT pg_advisory_unlock({int(key)})")

    def commits(self, statement: str) -> bool:
        return False

    def place(self, connection: OwnConnection, schema: str, table: str) -> str:
        name = _qualified(schema, table)
        found = connection.value(f"SELECT {_schema_of('CAST(:name AS text)')}", name=name)
        return str(found or "")

    def located(self, connection: OwnConnection, schema: str, table: str) -> tuple[str, tuple[str, ...]]:
        found = self.place(connection, schema, table)
        return found, self.rows_of(connection, found, table) if found else ()

    def rows_of(self, connection: OwnConnection, schema: str, table: str) -> tuple[str, ...]:
        name = _qualified(schema, table)
        if connection.value("SELECT to_regclass(CAST(:name AS text)) IS NULL", name=name):
            return ()
        # A colon in a quoted name must not be taken for a parameter.
        rows = connection.rows(f"SELECT version_num FROM {name}".replace(":", "\\:"))
        return tuple(sorted(str(row[0]) for row in rows))

    def default_schema(self, connection: OwnConnection) -> str:
        return "public"

    def is_there(self, connection: OwnConnection, kind: str, name: str) -> bool:
        if kind == "column":
            table, _, column = name.rpartition(".")
            return bool(connection.value(_COLUMN, name=_identifier(table), column=column))
        return bool(connection.value(_RELATION, name=_identifier(name), kinds=_KINDS[kind]))

    def watch(self, connection: OwnConnection, session: int) -> tuple[str, int | None]:
        blockers = connection.rows(_BLOCKERS.format(pid=int(session)))
        build = connection.rows(_BUILD.format(pid=int(session)))
        return "; ".join(_blocker(*row) for row in blockers), build[0][1] if build else None

    def blocking(self, connection: OwnConnection, session: int) -> tuple[int, ...]:
        return tuple(row[0] for row in connection.rows(f"SELECT unnest(pg_blocking_pids({int(session)}))"))

    def clear_the_way(self, connection: OwnConnection, session: int) -> None:
        # PostgreSQL cancels an autovacuum for whoever has waited for deadlock_timeout (1 s), longer than DDL may wait
        # here. This waits in its place, in a mode behind which no query of the application queues.
        for table, patience in connection.rows(_VACUUMED.format(pid=int(session))):
            connection.verbatim(_WAIT_IN_PLACE.format(table=table, patience=patience + 500))

    def cancel(self, connection: OwnConnection, sessions: Iterable[int], *, end: bool) -> None:
        # Only sessions whose application_name says that they are Lockgate's: the number of a session that has ended
        # may belong to somebody else by now.
        numbers = ", ".join(str(int(pid)) for pid in sorted(sessions))
        connection.rows(
            f"SELECT {'pg_terminate_backend' if end else 'pg_cancel_backend'}(pid) FROM pg_catalog.pg_stat_activity"
            f" WHERE pid IN ({numbers}) AND application_name LIKE 'lockgate%'"
        )

    def find_holders(
        self, connection: OwnConnection, leader: tuple[str, str], fence: tuple[str, str]
    ) -> tuple[LockHolder, ...]:
        return holders.find_holders(connection, leader=leader, fence=fence)

    def others(self, connection: OwnConnection, known: Iterable[LockHolder]) -> tuple[str, ...]:
        return holders.others(connection, known)

    def end_session(self, connection: OwnConnection, holder: LockHolder) -> bool:
        return holders.end_session(connection, holder)


def _qualified(schema: str | None, table: str) -> str:
    """Quote a table with its schema; without one the search_path finds it."""
    return f"{quoted(schema)}.{quoted(table)}" if schema else quoted(table)


def _identifier(name: str) -> str:
    """Quote ``name`` or ``schema.name``; without a schema the search_path of the role finds it."""
    schema, _, own = name.partition(".")
    return _qualified(schema, own) if own else quoted(schema)


def _blocker(pid: int, name: str, since: str | None, relation: str | None) -> str:
    details = ", ".join(part for part in (name, since and f"in a transaction since {since}") if part)
    return f"lock{f' on {relation}' if relation else ''} held by pid {pid}" + (f" ({details})" if details else "")
