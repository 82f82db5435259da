"""What a person should do about an error that a revision or env.py has raised. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockgate.runner.database import outcome
from lockgate.runner.entry.env_transactions import AS_ENVIRONMENT
from lockgate.runner.ledger.index_work import index_work

if TYPE_CHECKING:
    from lockgate.errors import LockgateError
    from lockgate.runner.entry.environment import EnvironmentEntry

__all__ = ["advice_on"]

_EXISTS = ("42P07", "42S01", "42S21", "1050", "1060", "1061")
"""SQLSTATE, or MySQL's number: a table, column or index of that name is there."""
_NO_ROOM = "The server has no room left for what the revision does: give it more, then start another run."
_DAMAGED = "The server cannot read or write its own files, which no run can cure: see its log, and restore a backup."
_ADVICE = {
    "42501": outcome.ADVICE_RIGHTS,
    "25P03": (
        "For ten minutes nothing was sent over env.py's connection, with a transaction open. Let the revision work in"
        " smaller steps, or say SET LOCAL idle_in_transaction_session_timeout = 0 before such a pause."
    ),
    "25P04": (
        "The role or the database has a transaction_timeout that is shorter than this revision takes. Split the"
        " revision, say SET LOCAL transaction_timeout = 0 in it, or ALTER ROLE ... SET transaction_timeout."
    ),
    **dict.fromkeys(("53100", "1021", "1114", "SQLITE_FULL"), _NO_ROOM),
    "53200": "The server has no memory left for what the revision does: give it more, or split the revision.",
    "53400": "The revision meets a limit that the server is set to (temp_file_limit): raise it, or split the revision.",
    **dict.fromkeys(("58030", "XX001", "XX002", "SQLITE_CORRUPT", "SQLITE_IOERR"), _DAMAGED),
}
"""By SQLSTATE, or what the database has instead."""


def advice_on(entry: EnvironmentEntry, cause: BaseException, error: LockgateError) -> str:
    """Return what to do about what was raised; ``error`` is what it amounts to."""
    what = "the revision or the data" if entry.failed_revision else "env.py, or what it imports and reads"
    general = error.advice or f"Correct {what}; what was committed before it stays."
    return _by_kind(entry, cause) or _below(entry) or general


def _by_kind(entry: EnvironmentEntry, cause: BaseException) -> str:
    code = outcome.code_of(cause)
    if isinstance(cause, AssertionError) and any(seen.choice.transactions == AS_ENVIRONMENT for seen in entry.seen):
        return "autocommit_block() needs env.py not to begin a transaction before context.configure()."
    if code in _EXISTS:
        return _exists(entry)
    if any(type(item).__name__ == "MissingGreenlet" for item in outcome.chain(cause)):
        return (
            "The URL names an asynchronous driver, and env.py connects without asyncio: name another driver, as in"
            " postgresql+psycopg://, or write env.py as `alembic init --template async` does."
        )
    if code not in _ADVICE and outcome.sqlstate_of(cause) and index_work(entry.failed_statement) is not None:
        return "Correct the data or the revision; the invalid index that is left is dropped by the next try."
    return _ADVICE.get(code, "")


def _below(entry: EnvironmentEntry) -> str:
    if not any(seen.took_driver for seen in entry.seen):
        return ""
    return (
        "It works below SQLAlchemy, over the connection of the driver: look at what it has committed there, and undo"
        " that before it is run again."
    )


def _exists(entry: EnvironmentEntry) -> str:
    known = sorted({name for seen in entry.seen if not seen.rows for name in seen.arrival.lineage})
    if entry.failed_revision in known:
        return (
            "The version table is empty, and yet lockgate.history says that this revision was applied here before"
            " (`lockgate history`): if somebody has deleted its rows, put them back with `alembic stamp`."
        )
    if entry.failed_revision and not any(seen.rows for seen in entry.seen):
        return (
            "No version is recorded here, and yet the schema is not empty. If init scripts, a dump or create_all"
            " made it, say which revision it is at: `lockgate baseline REVISION` (spec.alembic.baseline)."
        )
    return (
        "Something of that name is there already. If it is what the revision makes, write IF NOT EXISTS, or stamp the"
        " revision; drop it only if nobody needs what it holds."
    )
