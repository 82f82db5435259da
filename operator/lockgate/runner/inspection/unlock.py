"""``lockgate unlock``: shows who holds the lock of this database, and ends that session when that is wanted."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError

from lockgate.errors import LockBusy, Refused
from lockgate.report import Report
from lockgate.runner.database import outcome
from lockgate.runner.database.connection import OwnConnection
from lockgate.runner.database.lock_holders import LockHolder
from lockgate.runner.durations import spoken
from lockgate.runner.inspection.answer import Answer, answered
from lockgate.runner.inspection.position import named_table, opened
from lockgate.runner.inspection.version_tables import find_holders, find_places
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.invocation.project_file import working_directory
from lockgate.runner.output.progress import Narrator
from lockgate.runner.revisions.project import load_project

__all__ = ["unlock"]

END_SECONDS = 10.0
"""How long a session may take to end; one with much to roll back is seen as still there."""
SETTLE_SECONDS = 1.0
"""How long after that the lock is looked at once more: a run that is alive takes it again within this time."""

Find = Callable[[], tuple[LockHolder, ...]]


def unlock(configuration: Configuration, narrator: Narrator) -> Answer:
    """Show the holders, ask where nobody has said --yes, end them, and look whether that helped."""
    # With a URL and a table nothing of the image is needed: whoever breaks a lock may be on another machine.
    alone = configuration.version_table and configuration.url
    project = None if alone else load_project(configuration, working_directory(), os.environ)
    schema, table = named_table(configuration, project)
    leader = (project.version_schema, project.version_table) if project else (schema, table)
    with opened(project, configuration, narrator, "unlock") as (_, connection):
        places = find_places(connection, configuration, project) if project else ((schema, table),)

        def find() -> tuple[LockHolder, ...]:
            return find_holders(connection, leader, places)

        holders = find()
        if not holders:
            names = ", ".join(f"{_schema(connection, *place)}.{place[1]}" for place in places)
            message = f"Nobody holds the migration lock of {names}: there is nothing to unlock."
            return Answer(
                answered("NotLocked", message, warnings=connection.backend.others(connection, ())), {"holders": []}
            )
        for holder in holders:
            narrator.tell("held", holder.spoken, waiting_for=holder.spoken)
            if holder.query:
                narrator.tell("held", f"  {holder.query}")
        details = {"holders": [holder.details() for holder in holders]}
        if not configuration.yes and not _wanted(holders):
            return Answer(answered("LeftAlone", "Nothing was ended."), {**details, "ended": []})
        ended = tuple(holder for holder in holders if _end(connection, holder))
        return Answer(_result(find, ended, holders), {**details, "ended": sorted({one.pid for one in ended})})


def _schema(connection: OwnConnection, schema: str, table: str) -> str:
    backend = connection.backend
    return backend.place(connection, schema, table) or schema or backend.default_schema(connection)


def _wanted(holders: tuple[LockHolder, ...]) -> bool:
    pids = ", ".join(str(pid) for pid in sorted({holder.pid for holder in holders}))
    if not sys.stdin.isatty():
        raise Refused(
            f"The lock is held by pid {pids}, and there is no terminal to ask on.", advice="Say --yes to end it."
        )
    sys.stderr.write(f"End the session of pid {pids}? What it has not committed is rolled back. [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


_NO_RIGHT = ("42501", "1095", "1227", "42000", "HY000")
"""SQLSTATE, or MySQL's number, which drivers may hide behind one of the last two."""


def _end(connection: OwnConnection, holder: LockHolder) -> bool:
    if not (holder.since or holder.address):
        raise Refused(
            f"This role may not see when the session of pid {holder.pid} began, so it cannot be told from another.",
            advice=f"Use the role {holder.role}, or one {connection.backend.rights}.",
        )
    try:
        return connection.backend.end_session(connection, holder)
    except DBAPIError as caught:
        if outcome.code_of(caught) not in _NO_RIGHT:
            raise
        raise Refused(
            f"This role may not end the session of pid {holder.pid}: {outcome.brief(caught)}.",
            advice=f"Use the role {holder.role}, or one {connection.backend.rights}.",
        ) from caught


def _result(find: Find, ended: tuple[LockHolder, ...], before: tuple[LockHolder, ...]) -> Report:
    pids = ", ".join(str(pid) for pid in sorted({holder.pid for holder in ended}))
    did = f"Ended the session of pid {pids}" if ended else "Ended nothing: what was shown had given the lock back"
    shown = {(holder.pid, holder.since) for holder in before}
    deadline = time.monotonic() + END_SECONDS
    while any((holder.pid, holder.since) in shown for holder in find()):
        if time.monotonic() >= deadline:
            error = LockBusy(
                f"Told the session of pid {pids} to end, and it still holds the lock after {spoken(END_SECONDS)}.",
                advice="It may have much to roll back: look again with `lockgate status`.",
            )
            return answered("", "", error=error)
        time.sleep(0.1)
    time.sleep(SETTLE_SECONDS)
    again = find()
    if again:
        error = LockBusy(
            f"{did}, but the lock is taken again: {'; '.join(holder.spoken for holder in again)}.",
            advice="A run that is alive begins again, or another one waited: stop its pod or its process first.",
        )
        return answered("", "", error=error)
    return answered("Unlocked" if ended else "NotLocked", f"{did}: the lock is free.")
