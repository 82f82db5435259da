"""What the error numbers of MySQL and MariaDB mean. Pure."""

from __future__ import annotations

import re

from lockgate.errors import LockgateError
from lockgate.runner.database.database_errors import (
    busy,
    login_refused,
    no_session_left,
    read_only,
    statement_timed_out,
    unreachable,
)

__all__ = ["meaning", "message_of", "number_of", "without_values"]

_DRIVERS = ("pymysql", "MySQLdb", "aiomysql", "asyncmy", "mysql", "mariadb", "cymysql")

BUSY = {1205: "lock wait timeout", 1213: "deadlock", 1020: "changed since it was read", 3572: "lock not available"}
"""Other sessions hold what the statement needs."""

GONE = {
    *(2002, 2003, 2005, 2006, 2013, 2055),  # of the client: no connection, or no longer one
    *(1053, 1129, 1158, 1159, 1160, 1161, 1927, 3168, 3169, 4031),  # of the server
}
FULL = {1040, 1203, 1226}
"""No further session: at all, of this user, of this account."""
REFUSED_LOGIN = {1044, 1045, 1049, 1130, 1251, 1698, 2054, 2059}
READ_ONLY = {1290, 1792, 1836}
TIMED_OUT = {1969, 3024}

_VALUE = re.compile(
    r"(?<=entry ').*(?=' for key)|(?<=value: ').*(?='(?: for (?:column|function)|$))|(?<=near ').*(?=' at line)"
    r"|(?<=record ').*(?=' would lead)|(?<=partition for value ).*"
    r"|(?<=value of ').*(?=')|(?<=out of range in ').*(?=')",
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
        return busy(BUSY[number], said)
    if number in READ_ONLY and "read" in said.lower():
        return read_only(said)
    if number in REFUSED_LOGIN:
        return login_refused(said)
    if number in FULL:
        return no_session_left(said)
    if number in GONE:
        return unreachable(said)
    return statement_timed_out(said) if number in TIMED_OUT else None
