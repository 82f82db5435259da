"""What is to be done: the rows of a version table against the image's revision graph. Pure.

"At the target" means that the upgrade plan is empty, never that rows equal heads: with ``depends_on`` a head is
swallowed by the one that depends on it, and a complete database of 17 heads has 16 rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lockgate.errors import DatabaseAhead, InvalidRevisions, LockgateError
from lockgate.masking import masked
from lockgate.runner.database.outcome import words_of

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep
    from alembic.script import ScriptDirectory

__all__ = [
    "Parents",
    "ahead",
    "ancestors",
    "graph",
    "pending",
    "target_heads",
    "unknown_rows",
]

Parents = Mapping[str, Iterable[str]]
"""For each revision, what it builds on: down revisions and dependencies."""


def graph(script: ScriptDirectory) -> dict[str, tuple[str, ...]]:
    """Read the image's revision files; InvalidRevisions where they cannot be read as a graph."""
    try:
        return {revision.revision: tuple(revision._all_down_revisions) for revision in script.walk_revisions()}
    except (Exception, SystemExit) as error:  # revision files are the user's code: anything can come out of them
        raise _unreadable(error) from error


def pending(script: ScriptDirectory, target: str, rows: Iterable[str]) -> list[RevisionStep]:
    """Return the steps from ``rows`` to ``target``, in order; an empty list means that the target is reached."""
    from alembic.util import CommandError  # noqa: PLC0415  # a run that only waits does without Alembic

    try:
        # Alembic's annotation says one revision; its own run_migrations() passes the tuple of all rows.
        current: Any = tuple(rows)
        return list(script._upgrade_revs(target, current))
    except CommandError as error:
        raise _no_plan(script, target, str(error)) from error
    except (Exception, SystemExit) as error:  # one without upgrade() is an AttributeError
        raise _unreadable(error) from error


def _unreadable(error: BaseException) -> InvalidRevisions:
    words = words_of(error)
    said = words.splitlines()[0] if words else ""
    said = f"{type(error).__name__}: {said}".rstrip(": ")
    if isinstance(error, KeyError):  # what Alembic raises then
        said = f"one of them builds on {error}, which none of them is"
    return InvalidRevisions(
        f"The revision files cannot be read: {masked(said)}"[:500] + ".",
        advice="`alembic history` or `alembic upgrade --sql` in this image shows the same.",
    )


def _no_plan(script: ScriptDirectory, target: str, said: str) -> InvalidRevisions:
    heads = ", ".join(sorted(script.get_heads())) or "none"
    if "ultiple head" in said:
        return InvalidRevisions(
            f"The target {target!r} is ambiguous: this image has several heads ({heads}).",
            advice="Set the target (--target, spec.alembic.target) to `heads` (all of them) or to `<label>@head`, or"
            " merge the heads.",
        )
    return InvalidRevisions(f"No way to {target!r}: {said.rstrip('.')}. The heads of this image: {heads}.")


def target_heads(script: ScriptDirectory, target: str, steps: Iterable[RevisionStep]) -> tuple[str, ...]:
    """Return the revisions that ``target`` names; for a form like ``abc+2`` the end of the plan."""
    from alembic.util import CommandError  # noqa: PLC0415  # as above

    try:
        found = script.get_revisions(target)
    except CommandError:
        last = list(steps)[-1:]
        return tuple(step.revision.revision for step in last)
    return tuple(sorted(revision.revision for revision in found if revision is not None))


def ancestors(revisions: Iterable[str], *graphs: Parents) -> set[str]:
    """Return ``revisions`` and all that they build on, as far as these graphs know."""
    found: set[str] = set()
    queue = list(revisions)
    while queue:
        revision = queue.pop()
        if revision not in found:
            found.add(revision)
            queue += [parent for known in graphs for parent in known.get(revision, ())]
    return found


def unknown_rows(rows: Iterable[str], known: Parents) -> tuple[str, ...]:
    """Return the rows that the image does not contain."""
    return tuple(row for row in rows if row not in known)


def ahead(
    rows: Iterable[str], unknown: Iterable[str], heads: Iterable[str], own: Parents, lineage: Parents, *, accept: bool
) -> LockgateError | None:
    """Judge a database with rows that the image does not know: None means that it contains all that the image needs.

    ``lineage`` is what lockgate.history recorded when the unknown revisions were applied, by whatever image.
    """
    names = ", ".join(sorted(unknown))
    contained = ancestors(rows, lineage, own)
    if not all(row in lineage for row in unknown):
        return DatabaseAhead(
            f"The database is at {names}, which this image does not contain, and lockgate.history has no record of it.",
            advice="Use the image, or the checkout, that contains it. Is this the right database and the right"
            " version table?",
        )
    missing = sorted(set(heads) - contained)
    if missing:
        return _lacking(names, missing, partly=all(ancestors([row], lineage, own) & set(heads) for row in unknown))
    if not accept:
        return DatabaseAhead(
            f"The database is ahead of this image, at {names}, and the policy is to block.",
            advice="Deploy an image that contains it, or let it pass: --database-ahead Accept,"
            " spec.policy.databaseAhead.",
        )
    return None


def _lacking(names: str, missing: list[str], *, partly: bool) -> InvalidRevisions:
    """Refuse what is ahead in one branch and behind in another: nobody has seen these revisions side by side."""
    lacks = ", ".join(missing)
    if partly:
        return InvalidRevisions(
            f"The database is ahead of this image, at {names}, and behind it in another branch: it lacks {lacks}."
            " Nothing is applied.",
            advice=f"Deploy an image that contains both {names} and {lacks}.",
        )
    return InvalidRevisions(
        f"The database is at {names} of another branch: it lacks {lacks}.",
        advice="Deploy an image that contains both, with a merge revision.",
    )
