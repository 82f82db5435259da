"""The errors that every kind of database can lead to, in the same words. Pure.

``said`` is what the database, or its driver, says: one line, without values.
"""

from __future__ import annotations

from lockgate.errors import (
    DatabaseBusy,
    DatabaseReadOnly,
    DatabaseUnreachable,
    InvalidConfiguration,
    MigrationFailed,
    TooManySessions,
)

__all__ = [
    "busy",
    "cancelled",
    "certificate_refused",
    "login_refused",
    "no_dialect",
    "no_session_left",
    "read_only",
    "statement_timed_out",
    "unreachable",
]


def busy(why: str, said: str) -> DatabaseBusy:
    """Return the error where other sessions hold what a statement needs."""
    return DatabaseBusy(f"The database is busy ({why}): {said}.")


def read_only(said: str) -> DatabaseReadOnly:
    """Return the error where a server takes no writes."""
    return DatabaseReadOnly(f"The database takes no writes: {said}.", advice="Point the URL at the primary.")


def login_refused(said: str) -> InvalidConfiguration:
    """Return the error where a server does not let this user in, or has no such database."""
    return InvalidConfiguration(
        f"The database refuses the login: {said}.", advice="Check the user, password and database name in the URL."
    )


def unreachable(said: str) -> DatabaseUnreachable:
    """Return the error where there is no connection, or no longer one."""
    return DatabaseUnreachable(
        f"No connection to the database: {said}.",
        advice="Check that the database runs, that host, port and what is said of TLS are right, and that it can be"
        " reached from here (firewall, network policy).",
    )


def certificate_refused(said: str) -> InvalidConfiguration:
    """Return the error where the certificate of a server is not one that the client accepts."""
    return InvalidConfiguration(
        f"The certificate of the server is not accepted: {said}.",
        advice="Check sslrootcert, or what env.py has in its place, and the name of the host in the URL.",
    )


def no_dialect(said: str) -> InvalidConfiguration:
    """Return the error where SQLAlchemy knows no database, or no driver, of the name at the start of a URL."""
    return InvalidConfiguration(
        f"SQLAlchemy does not know the name at the start of the database URL: {said}.",
        advice="Write postgresql:// in place of postgres://, which SQLAlchemy does not know since its version 1.4; or"
        " install the package that brings that name.",
    )


def no_session_left(said: str) -> TooManySessions:
    """Return the error where a server takes no further session: of this role, of this database, or at all."""
    return TooManySessions(
        f"The server takes no further session: {said}.",
        advice="A run needs two at a time, its own and env.py's, and a third where it drops an invalid index. Raise the"
        " CONNECTION LIMIT of the role or the database, if it has one, or the size of the pool; else end sessions that"
        " nobody needs, or raise max_connections.",
    )


def cancelled(said: str) -> MigrationFailed:
    """Return the error where PostgreSQL cancelled a statement: the same SQLSTATE says by whom it was not."""
    return MigrationFailed(
        f"The server cancelled a statement: {said}.",
        advice="If it took longer than the statement timeout, raise that (--statement-timeout, spec.timeouts.statement,"
        " or what env.py or the role sets) or split the revision; else somebody has cancelled it (pg_cancel_backend).",
    )


def statement_timed_out(said: str) -> MigrationFailed:
    """Return the error where a server ended a statement that took too long."""
    return MigrationFailed(
        f"A statement took longer than the statement timeout: {said}.",
        advice="Raise --statement-timeout (spec.timeouts.statement), or the time-out that env.py sets, or split the"
        " revision.",
    )
