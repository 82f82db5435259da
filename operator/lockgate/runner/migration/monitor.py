"""Watches the migration from another session: which statement runs, who blocks it, how far an index build is.

A thread with a connection of its own, and nothing depends on it: what it cannot see is not told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from lockgate.runner.database.connection import OwnConnection
from lockgate.runner.entry.sessions import EnvironmentSessions, Statement, is_patient
from lockgate.runner.output.progress import Narrator
from lockgate.runner.sql.values import without_values

__all__ = ["Monitor"]

FIRST, SOON, LATER = 0.05, 0.2, 1.0
"""Seconds from the start of a statement to the first look, as it may give way to others after a tenth of a second; then
between looks, soon while a statement is young and may only wait for a lock, later afterwards."""


class Monitor:
    """Tells the narrator about the statement that runs; start it, and stop it when the migration is over."""

    def __init__(
        self, connect: Callable[[str], OwnConnection], sessions: EnvironmentSessions, narrator: Narrator
    ) -> None:
        self._connect = connect
        self._sessions = sessions
        self._narrator = narrator
        self._stop = threading.Event()
        self._told: tuple[object, ...] = ()
        self._thread = threading.Thread(target=self._watch, name="lockgate-monitor", daemon=True)

    def __enter__(self) -> Monitor:
        """Start to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and wait for the last look to end."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _watch(self) -> None:
        connection: OwnConnection | None = None
        pause = FIRST
        while not self._stop.wait(pause):
            statement = self._sessions.running
            age = time.monotonic() - statement.started if statement else 0.0
            pause = FIRST
            if statement is None or age < FIRST:
                continue
            pause = LATER if age > 2 else SOON
            try:
                connection = connection or self._connect("monitor")
                self._look(connection, statement)
            except Exception:  # nothing depends on this; the next look tries again
                _close(connection)
                connection = None
        _close(connection)

    def _look(self, connection: OwnConnection, statement: Statement) -> None:
        waiting, percent = connection.backend.watch(connection, statement.pid)
        holders = (
            connection.backend.blocking(connection, statement.pid) if waiting and self._sessions.are_several else ()
        )
        if self._sessions.running is not statement:
            return
        self._sessions.blocked(statement, holders, waiting)
        told = (statement, waiting, percent)
        if told != self._told:
            self._told = told
            sentence = f"waiting for {waiting}" if waiting else ""
            text = without_values(statement.text, statement.dialect)
            self._narrator.tell("running", sentence, statement=text, waiting_for=waiting, percent=percent)
        if waiting and not is_patient(statement.text):  # what is patient waits until the server does that by itself
            connection.backend.clear_the_way(connection, statement.pid)


def _close(connection: OwnConnection | None) -> None:
    if connection is not None:
        connection.close()
