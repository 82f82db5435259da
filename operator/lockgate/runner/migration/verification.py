"""Reads version tables over connections that are not env.py's: its exit code proves nothing."""

from __future__ import annotations

from lockgate.runner.database import outcome
from lockgate.runner.database.connection import Database, OwnConnection
from lockgate.runner.database.session_settings import Settings
from lockgate.runner.database.sql_text import quoted
from lockgate.runner.entry.arrival import Arrival

__all__ = ["VersionTables"]

_NO_RIGHT = "42501"


class VersionTables:
    """Knows a connection for each database that env.py migrates: Lockgate's own, or one by env.py's engine."""

    def __init__(self, connection: OwnConnection, fingerprint: str, settings: Settings) -> None:
        self._connections = {fingerprint: connection}
        self._opened: list[OwnConnection] = []
        self._settings = settings

    def rows(self, arrival: Arrival) -> tuple[str, ...]:
        """Return the rows of the version table that env.py configured."""
        connection = self._connections.get(arrival.fingerprint)
        if connection is None:
            connection = Database.of_engine(arrival.engine, self._settings).connect("verify")
            self._connections[arrival.fingerprint] = connection
            self._opened.append(connection)
        try:
            return connection.backend.rows_of(connection, arrival.schema, arrival.table)
        except Exception as error:
            if outcome.sqlstate_of(error) != _NO_RIGHT or not arrival.role:
                raise
        connection.rows(f"SET ROLE {quoted(arrival.role)}")  # as env.py does, for a login that does not inherit it
        try:
            return connection.backend.rows_of(connection, arrival.schema, arrival.table)
        finally:
            connection.rows("RESET ROLE")

    def close(self) -> None:
        """Close what was opened here."""
        for connection in self._opened:
            connection.close()
