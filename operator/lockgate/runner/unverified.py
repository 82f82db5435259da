"""What was there before a migration that has not been verified yet, in ``lockgate.unverified``.

A run that migrates and then fails its health checks, or is killed before them, must not be forgiven by the next one:
that one finds nothing to apply, and an index that is invalid *by now*. So the snapshot that the checks compare with
is kept until they have passed.
"""

from __future__ import annotations

import json

from sqlalchemy.exc import DBAPIError

from lockgate.runner.connection import OwnConnection

__all__ = ["begin", "end"]


def begin(connection: OwnConnection, scope: int, invalid: frozenset[str]) -> frozenset[str]:
    """Return the invalid indexes from before the first run that is not verified; ``invalid`` if there was none.

    ``scope`` is the key of the leader lock: whoever holds it is alone here.
    """
    try:
        connection.rows(
            "INSERT INTO lockgate.unverified (scope, invalid_indexes) VALUES (:scope, :invalid)"
            " ON CONFLICT (scope) DO NOTHING",
            scope=str(scope),
            invalid=json.dumps(sorted(invalid)),
        )
        found = connection.value(
            "SELECT invalid_indexes FROM lockgate.unverified WHERE scope = :scope", scope=str(scope)
        )
    except DBAPIError:  # no right to this table: the checks then compare with what they find
        return invalid
    return frozenset(json.loads(found))


def end(connection: OwnConnection, scope: int) -> None:
    """Forget the snapshot: the checks have passed."""
    try:
        connection.rows("DELETE FROM lockgate.unverified WHERE scope = :scope", scope=str(scope))
    except DBAPIError:
        return
