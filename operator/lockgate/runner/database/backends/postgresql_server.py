"""What kind of server is at the other end, and whether a migration may run there.

Session locks protect nothing behind a transaction pooler (two clients "get" the same lock), and a standby grants
advisory locks and then refuses the first DDL: both are asked before any lock is taken.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import NamedTuple

from lockgate.errors import DatabaseReadOnly, LockgateError, UnsupportedDatabase
from lockgate.runner.database.backends.backend import Ask, Room
from lockgate.runner.database.connection import OwnConnection, database_error

__all__ = ["FINGERPRINT", "OLDEST", "Server", "examine", "identity", "is_shared", "objection", "room"]

OLDEST = 12
"""The oldest major version of PostgreSQL that a run accepts."""

FINGERPRINT = (
    "pg_catalog.current_database() || ' '"
    " || CAST(CAST(1000000 * extract(epoch FROM pg_catalog.pg_postmaster_start_time()) AS bigint) AS text)"
)
"""SQL: the same text for every session of one database of one server, whatever host led there, in any time zone."""

_PLACE = (
    "SELECT CAST(d.oid AS text), d.datname, coalesce(has_function_privilege("
    "to_regprocedure('pg_catalog.pg_control_system()'), 'EXECUTE'), false)"
    " FROM pg_catalog.pg_database d WHERE d.datname = current_database()"
)

PROBES = 3
PROBE_SECONDS = 2.0


class Server(NamedTuple):
    """Facts about the server, as seen over one connection."""

    product: str
    version_number: int
    in_recovery: bool
    pooled: bool
    """The connection goes through some pooler."""
    fingerprint: str


def examine(connection: OwnConnection) -> Server:
    """Ask the server what it is."""
    product, number, recovery, pid, fingerprint = connection.rows(
        "SELECT version(), CAST(current_setting('server_version_num') AS integer), pg_is_in_recovery(),"
        f" pg_backend_pid(), {FINGERPRINT}"
    )[0]
    pooled = connection.reported_pid is not None and connection.reported_pid != pid
    return Server(product, number, recovery, pooled, fingerprint)


def identity(connection: OwnConnection) -> str:
    """Return the cluster's identifier, which standbys share, and the database's number, which a new one does not have.

    A managed service may keep the first one to itself: then the name stands in for it.
    """
    number, name, may_ask = connection.rows(_PLACE)[0]
    if may_ask:
        try:
            return f"{connection.value('SELECT CAST(system_identifier AS text) FROM pg_control_system()')} {number}"
        except database_error():
            pass
    return f"{name} {number}"


def is_shared(connection: OwnConnection, connect: Callable[[str], OwnConnection]) -> bool | None:
    """Return whether another client meets our server connection, or we do not meet it again: then it is not ours.

    While the other one is inside a transaction, a transaction pooler has to give us another server connection. None
    where there was no other session within `PROBE_SECONDS`: who waits for one in a full pool has to give its own back.
    """
    other = _opened_soon(lambda: connect("probe"))
    if other is None:
        return None
    try:
        for _ in range(PROBES):
            mine = connection.value("SELECT pg_backend_pid()")
            other.rows("BEGIN")
            met = other.value("SELECT pg_backend_pid()")
            if met == mine or connection.value("SELECT pg_backend_pid()") != mine:
                return True
            other.rows("COMMIT")
    finally:
        other.close()
    return False


def _opened_soon(connect: Callable[[], OwnConnection]) -> OwnConnection | None:
    """Return a session, or None where it was not there in time: it is closed as soon as it is."""
    found: queue.SimpleQueue[OwnConnection | Exception] = queue.SimpleQueue()
    given_up = threading.Event()

    def open_one() -> None:
        try:
            opened = connect()
        except Exception as error:
            found.put(error)
            return
        found.put(opened)
        if given_up.is_set():
            opened.close()

    threading.Thread(target=open_one, name="lockgate-probe", daemon=True).start()
    try:
        opened = found.get(timeout=PROBE_SECONDS)
    except queue.Empty:
        given_up.set()
        with contextlib.suppress(queue.Empty):  # it came in between
            late = found.get_nowait()
            if not isinstance(late, Exception):
                late.close()
        return None
    if isinstance(opened, Exception):
        raise opened
    return opened


_ROOM = (
    "SELECT r.rolsuper, r.rolname, r.rolconnlimit, d.datconnlimit,"
    " count(*) FILTER (WHERE a.usesysid = r.oid), count(*) FILTER (WHERE a.datid = d.oid), count(*),"
    " CAST(current_setting('max_connections') AS integer)"
    " - CAST(current_setting('superuser_reserved_connections') AS integer)"
    " - CAST(coalesce(current_setting('reserved_connections', true), '0') AS integer)"
    " FROM pg_catalog.pg_roles r JOIN pg_catalog.pg_database d ON d.datname = current_database()"
    " JOIN pg_catalog.pg_stat_activity a ON a.datid IS NOT NULL AND a.usesysid IS NOT NULL"
    " WHERE r.rolname = session_user GROUP BY 1, 2, 3, 4"
)
"""Every role sees of each session whose it is, and in which database."""


def room(ask: Ask) -> Room:
    """Return how many sessions this login may have here, and about how many more there is room for."""
    superuser, role, of_role, of_database, by_role, in_database, in_all, most = ask(_ROOM)[0]
    free = most - in_all
    limits = [] if superuser else [(of_role, by_role, f"the role {role}"), (of_database, in_database, "the database")]
    limits = [limit for limit in limits if limit[0] >= 0]
    if not limits:
        return Room(free=free)
    fewest = min(limits)
    return Room(fewest[0], f"{fewest[2]} (CONNECTION LIMIT)", min(free, *(limit - used for limit, used, _ in limits)))


def objection(server: Server) -> LockgateError | None:
    """Return why no migration may run there, or None."""
    if not server.product.startswith("PostgreSQL "):
        return UnsupportedDatabase(
            f"The server says that it is {server.product.split(' ')[0]!r}.", advice="Lockgate migrates PostgreSQL."
        )
    if server.version_number < OLDEST * 10000:
        return UnsupportedDatabase(
            f"The server is PostgreSQL {server.version_number // 10000}.",
            advice=f"Lockgate needs PostgreSQL {OLDEST} or newer.",
        )
    if server.in_recovery:
        return DatabaseReadOnly(
            "The server is a standby (in recovery) and takes no DDL.",
            advice="Point the URL at the primary; with several hosts in it, add target_session_attrs=read-write.",
        )
    return None
