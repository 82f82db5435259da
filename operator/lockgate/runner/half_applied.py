"""What a person has to know of a revision that committed in the middle and did not end, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lockgate.errors import HalfApplied
from lockgate.runner.resumption import is_harmless, obstacle
from lockgate.runner.statements import STARTED, Kept, Part, shortened

__all__ = ["joined", "left_in_the_middle", "listing", "said_of", "way_out"]

LISTED = 5
"""Statements that a message shows; the report's failure has up to 50."""


def joined(earlier: Iterable[Kept], committed: Iterable[Kept]) -> tuple[Kept, ...]:
    """Return what is committed by now, in order: by other runs and by this one."""
    found = {row.position: row for row in (*earlier, *committed)}
    return tuple(found[position] for position in sorted(found))


def listing(kept: tuple[Kept, ...]) -> str:
    """Return the statements as numbered words."""
    words = [
        f"({number}) {shortened(row.text)}{' (perhaps)' if row.state == STARTED else ''}"
        for number, row in enumerate(kept[:LISTED], 1)
    ]
    if len(kept) > LISTED:
        words.append(f"and {len(kept) - LISTED} more")
    return " ".join(words)


def way_out(part: Part, *, recorded: bool) -> str:
    """Return what to do; ``recorded``: a next run knows of what is committed."""
    finish = f"finish the revision by hand and `alembic stamp {part.revision}`"
    if not recorded:
        return f"Undo by hand what is committed, or {finish}; then ask for another try."
    return (
        f"Let the next run continue behind it (`--half-applied Resume`, policy.halfApplied), or {finish}, or undo by"
        f" hand what is committed and DELETE FROM lockgate.statements WHERE revision = '{part.revision}'; then ask for"
        " another try."
    )


def left_in_the_middle(
    part: Part, kept: tuple[Kept, ...], rows: tuple[str, ...], *, resume: bool
) -> HalfApplied | None:
    """Return what speaks against continuing a revision that another run left in the middle; None: nothing.

    ``rows``: of the version table. ``resume``: somebody asked for it.
    """
    trouble = obstacle(kept)
    if not kept or (not trouble and (resume or all(is_harmless(row.text) for row in kept))):
        return None
    unable = f" It cannot be continued. {trouble}" if resume else ""
    return HalfApplied(
        f"Revision {part.revision} is half applied: an earlier run ended in the middle of it."
        f" Committed: {listing(kept)}.{unable} {part.version_table} still says {', '.join(rows) or 'base'}."
        " Nothing was done.",
        advice=way_out(part, recorded=True)
        if not unable
        else f"Finish the revision by hand and `alembic stamp {part.revision}`, or undo by hand what is committed and"
        f" DELETE FROM lockgate.statements WHERE revision = '{part.revision}'; then ask for another try.",
    )


def said_of(resumed: Mapping[str, int], unrecorded: Mapping[str, bool]) -> list[str]:
    """Return the warnings of a run that continued revisions, or could not record how far they are."""
    said = [
        f"Continued {revision} behind {count} statement(s) that an earlier try had committed."
        for revision, count in sorted(resumed.items())
    ]
    if names := sorted(revision for revision, matters in unrecorded.items() if matters):
        said.append(
            f"{', '.join(names)} committed in the middle, where its role may not write lockgate.statements: had the run"
            " been killed there, the next one would have begun it again. Grant that role USAGE on the schema lockgate,"
            " and SELECT, INSERT, UPDATE and DELETE on that table."
        )
    return said
