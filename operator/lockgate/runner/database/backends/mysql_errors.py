"""What the error numbers of MySQL and MariaDB mean. Pure."""

from __future__ import annotations

import re

from lockgate.errors import (
    DatabaseBusy,
    DatabaseReadOnly,
    DatabaseUnreachable,
    InvalidConfiguration,
    LockgateError,
    MigrationFailed,
)

__all__ = ["meaning", "message_of", "number_of", "without_values"]

_DRIVERS = ("pymysql", "MySQLdb", "aiomysql", "asyncmy", "mysql", "mariadb", "cymysql")

BUSY = {1205: "lock wait timeout", 1213: "deadlock", 1020: "changed since it was read", 3572: "lock not available"}
"""Other sessions hold what the statement needs."""

GONE = {
    *(2002, 2003, 2005, 2006, 2013, 2055),  # of the client: no connection, or no longer one
    *(1040, 1203, 1053, 1129, 1158, 1159, 1160, 1161, 1927, 3168, 3169, 4031),  # of the server
}
REFUSED_LOGIN = {1044, 1045, 1049, 1130, 1251, 1698, 2054, 2059}
READ_ONLY = {1290, 1792, 1836}
TIMED_OUT = {1969, 3024}

_VALUE = re.compile(
    r"(?<=entry ').*(?=' for key)|(?<=value: ').*(?='(?: for (?:column|function)|$))|(?<=near ').*(?=' at line)"
    r"|(?<=record ').*(?=' would lead)|(?<=partition for value ).*",
    re.DOTALL,
)
"""Where messages quote rows, or the statement: MySQL's drivers put parameters into its text."""


def number_of(error: BaseException) -> int:
    """Return the error number of an exception of a MySQL driver, or 0."""
    if type(error).__module__.split(".")[0] not in _DRIVERS:
        return 0
    number = getattr(error, "errno", None) or (error.args[0] if error.args else 0)
    return number if isinstance(number, int) else 0


def message_of(error: BaseException) -> str:
    """Return the server's words; MySQL's own connector calls them ``msg``."""
    return str(getattr(error, "msg", None) or error.args[-1])


def without_values(message: str) -> str:
    """Return the server's message without what can be data."""
    return _VALUE.sub("...", message)


def meaning(number: int, said: str) -> LockgateError | None:
    """Return the error of our tree that a number amounts to; None where it is a matter of the revision."""
    if number in BUSY:
        return DatabaseBusy(f"The database is busy ({BUSY[number]}): {said}.")
    if number in READ_ONLY and "read" in said.lower():
        return DatabaseReadOnly(f"The database takes no writes: {said}.", advice="Point the URL at the primary.")
    if number in REFUSED_LOGIN:
        return InvalidConfiguration(
            f"The database refuses the login: {said}.", advice="Check the user, password and database name in the URL."
        )
    if number in GONE:
        return DatabaseUnreachable(
            f"No connection to the database: {said}.",
            advice="Check that the database runs, that host and port in the URL are right, and that it can be"
            " reached from here (firewall, network policy).",
        )
    if number in TIMED_OUT:
        return MigrationFailed(
            f"A statement took longer than the statement timeout: {said}.",
            advice="Raise --statement-timeout (spec.timeouts.statement), or the time-out that env.py sets, or split"
            " the revision.",
        )
    return None
