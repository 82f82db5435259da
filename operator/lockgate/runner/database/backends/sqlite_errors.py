"""What errors of SQLite mean: by their words, because Python tells their codes only since 3.11. Pure."""

from __future__ import annotations

import re

from lockgate.errors import DatabaseBusy, InvalidConfiguration, LockgateError

__all__ = ["is_refused_write", "is_sqlite", "meaning"]


def is_sqlite(error: BaseException) -> bool:
    """Return whether an exception is of Python's SQLite driver."""
    return type(error).__module__ in ("sqlite3", "_sqlite3")


def is_refused_write(said: str) -> bool:
    """Return whether something was to be written where that is not possible."""
    return "readonly database" in said


def meaning(said: str) -> LockgateError | None:
    """Return the error of our tree that a message amounts to; None where it is a matter of the revision."""
    if re.search(r"database (?:\w+ )?is locked|table is locked", said):
        return DatabaseBusy(f"The database is busy: {said}.", advice="See which processes have the file open.")
    if "unable to open database" in said:
        return InvalidConfiguration(
            f"The database file cannot be opened: {said}.",
            advice="Is its folder there, and may this user write in it? A relative path begins at the working folder.",
        )
    if is_refused_write(said):
        return InvalidConfiguration(
            f"The database file cannot be written: {said}.", advice="Give this user the right to write it."
        )
    return None
