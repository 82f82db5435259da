"""Whether a version table belongs to the application of this image, before anything in it is taken back. Pure.

A wrong database URL leads to the tables of another application, and ``lockgate.history`` has all that is needed to drop
them. Alembic refuses there, because it cannot find the revision.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lockgate.errors import Refused
from lockgate.runner.revisions.plan import Parents, ancestors

if TYPE_CHECKING:
    from lockgate.errors import LockgateError

__all__ = ["stranger"]

_ADVICE = "Is this the right database and the right version table? Else use an image of that application."


def stranger(
    rows: Iterable[str], own: Parents, lineage: Parents, *, replaced: Iterable[str], version_table: str
) -> LockgateError | None:
    """Return why nothing of a version table may be taken back with this image; None where it is related to the rows.

    Related is an image that contains a row, or a revision on which a row builds. Numbered revisions (0001) are called
    alike in every application: names of which each was ``replaced``, because something else had been applied under it
    than what the image contains, prove nothing.
    """
    rows = sorted(rows)
    shared = ancestors(rows, own, lineage) & set(own)
    if not rows or shared - set(replaced):
        return None
    at = f"{version_table} is at {', '.join(rows)}"
    if not shared:
        said = f"{at}, which has no revision in common with this image: another application may have applied it."
    else:
        said = (
            f"{at}. Of the revisions that this image contains under the same names ({_listed(shared)}), each is"
            " another one than was applied: another application may have applied them."
        )
    return Refused(f"{said} Nothing is taken back.", advice=_ADVICE)


def _listed(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
