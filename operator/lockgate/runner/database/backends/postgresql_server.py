"""What kind of server is at the other end, and whether a migration may run there.

Session locks protect nothing behind a transaction pooler (two clients "get" the same lock), and a standby grants
advisory locks and then refuses the first DDL: both are asked before any lock is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lockgate.errors import DatabaseReadOnly, LockgateError, TransactionPooler, UnsupportedDatabase
from lockgate.runner.database.connection import OwnConnection, database_error

__all__ = ["FINGERPRINT", "OLDEST", "Server", "examine", "identity", "objection"]

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


class Server(NamedTuple):
    """Facts about the server, as seen over one connection."""

    product: str
    version_number: int
    in_recovery: bool
    pooled: bool
    """The connection goes through some pooler."""
    shared: bool
    """The pooler gives one server connection to several clients: transaction or statement pooling."""
    fingerprint: str


def examine(connection: OwnConnection, connect: Callable[[str], OwnConnection]) -> Server:
    """Ask the server what it is; ``connect`` opens a second connection where a pooler has to be told apart."""
    product, number, recovery, pid, fingerprint = connection.rows(
        "SELECT version(), CAST(current_setting('server_version_num') AS integer), pg_is_in_recovery(),"
        f" pg_backend_pid(), {FINGERPRINT}"
    )[0]
    pooled = connection.reported_pid is not None and connection.reported_pid != pid
    shared = pooled and _is_shared(connection, connect)
    return Server(product, number, recovery, pooled, shared, fingerprint)


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


def _is_shared(connection: OwnConnection, connect: Callable[[str], OwnConnection]) -> bool:
    """Return whether another client meets our server connection, or we do not meet it again: then it is not ours."""
    mine = connection.value("SELECT pg_backend_pid()")
    others = []
    try:
        for _ in range(PROBES):
            others.append(connect("probe"))
            met = {other.value("SELECT pg_backend_pid()") for other in others}
            if mine in met or len(met) < len(others) or connection.value("SELECT pg_backend_pid()") != mine:
                return True
    finally:
        for other in others:
            other.close()
    return False


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
    if server.shared:
        return TransactionPooler(
            "The connection goes through a transaction pooler, where a session lock protects nothing.",
            advice="Give it a URL that leads to the server itself, or to a session pool (on Kubernetes:"
            " spec.database.directUrlFrom).",
        )
    if server.in_recovery:
        return DatabaseReadOnly(
            "The server is a standby (in recovery) and takes no DDL.",
            advice="Point the URL at the primary; with several hosts in it, add target_session_attrs=read-write.",
        )
    return None
