"""Reads what other runs left in the middle of revisions, over env.py's connection and behind the fence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from lockgate.runner.entry.arrival import asking, in_own_transaction
from lockgate.runner.records import statements
from lockgate.runner.revisions import plan

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

    from lockgate.runner.entry.seen import Seen

__all__ = ["look_back"]


def look_back(seen: Seen, context: MigrationContext, graph: plan.Parents) -> None:
    """Enter into ``seen`` what is left in the middle; forget what somebody has finished by hand since."""
    connection = context.connection
    assert connection is not None  # noqa: S101  # without one there is no plan
    applied = plan.ancestors(seen.rows, graph, seen.arrival.lineage)
    with in_own_transaction(connection):
        found = statements.kept_statements(asking(connection), seen.arrival.version_table)
        for part in found:
            if (part.revision in applied) == (part.direction == "upgrade"):
                connection.execute(text(statements.FORGET), part._asdict())
            else:
                seen.earlier[part] = found[part]
