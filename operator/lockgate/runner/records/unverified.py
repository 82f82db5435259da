"""What was there before a migration that has not been verified yet, in ``lockgate.unverified``.

A run can migrate and then fail its health checks, or be killed before them. The next run finds nothing to apply, and
would take an index that the first one left invalid for one that was invalid before. So the baseline that the checks
compare with is kept until they have passed.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from lockgate.runner.database.connection import OwnConnection, database_error

__all__ = ["TABLE", "Baseline", "begin", "end"]

TABLE = """
    CREATE TABLE IF NOT EXISTS lockgate.unverified (
        scope text PRIMARY KEY,
        baseline text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )"""


class Baseline(NamedTuple):
    """What was wrong in the database before the run: that is not the run's doing."""

    invalid_indexes: frozenset[str] = frozenset()
    unvalidated_constraints: frozenset[str] = frozenset()


def begin(connection: OwnConnection, scope: int, baseline: Baseline) -> Baseline:
    """Return the baseline of the first run that is not verified; ``baseline`` where that is this one.

    ``scope`` is the key of the leader lock: whoever holds it is alone here.
    """
    now = {
        "invalid_indexes": sorted(baseline.invalid_indexes),
        "unvalidated_constraints": sorted(baseline.unvalidated_constraints),
    }
    try:
        connection.rows(
            "INSERT INTO lockgate.unverified (scope, baseline) VALUES (:scope, :now) ON CONFLICT (scope) DO NOTHING",
            scope=str(scope),
            now=json.dumps(now),
        )
        kept = connection.value("SELECT baseline FROM lockgate.unverified WHERE scope = :scope", scope=str(scope))
    except database_error():  # no right to this table: the checks then compare with what this run has found
        return baseline
    return Baseline(**{name: frozenset(found) for name, found in json.loads(kept).items()})


def end(connection: OwnConnection, scope: int) -> None:
    """Forget the baseline: the checks have passed."""
    try:
        connection.rows("DELETE FROM lockgate.unverified WHERE scope = :scope", scope=str(scope))
    except database_error():
        return
