"""Which revisions are to be taken back, in which order, and what is left then: the other direction of `plan`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from alembic.util import CommandError

from lockgate.errors import InvalidRevisions
from lockgate.runner.revisions import plan

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep
    from alembic.script import ScriptDirectory

__all__ = ["above", "going_back", "tips"]


def going_back(script: ScriptDirectory, target: str, rows: Iterable[str]) -> list[RevisionStep]:
    """Return the steps back from ``rows`` to ``target``, the newest first, as `alembic downgrade` would take them."""
    try:
        current: Any = tuple(rows)
        return list(script._downgrade_revs(target, current))
    except CommandError as error:
        # A revision that another one depends on is no row of its own: Alembic then takes "already there" for an error.
        if _contains(script, target, rows):
            return []
        raise InvalidRevisions(
            f"No way back to {target!r} from {', '.join(sorted(rows)) or 'base'}: {str(error).rstrip('.')}.",
            advice="Name a revision that the database contains (see `lockgate history`), `base`, or `<label>@base`.",
        ) from error


def _contains(script: ScriptDirectory, target: str, rows: Iterable[str]) -> bool:
    try:
        named = {revision.revision for revision in script.get_revisions(target) if revision is not None}
    except CommandError:
        return False
    return bool(named) and named <= plan.ancestors(rows, plan.graph(script))


def above(contained: Iterable[str], heads: Iterable[str], known: plan.Parents) -> list[str]:
    """Return what of ``contained`` builds on ``heads``, in an order in which it can be taken back.

    What is in a branch of its own stays: nobody has said that it should go.
    """
    heads = set(heads)
    below = plan.ancestors(heads, known)
    rest = {name for name in contained if name not in below and plan.ancestors([name], known) & heads}
    order: list[str] = []
    while rest:
        free = rest - {parent for name in rest for parent in known.get(name, ())}
        if not free:
            raise InvalidRevisions(f"The revisions {', '.join(sorted(rest))} build on each other in a circle.")
        order += sorted(free)
        rest -= free
    return order


def tips(revisions: Iterable[str], known: plan.Parents) -> tuple[str, ...]:
    """Return those that no other of them builds on: the rows of a version table that contains them."""
    revisions = set(revisions)
    return tuple(sorted(revisions - {parent for name in revisions for parent in known.get(name, ())}))
