"""What a person has to know of a revision that committed in the middle and did not end, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lockgate.errors import HalfApplied
from lockgate.runner.ledger.resumption import is_harmless, obstacle
from lockgate.runner.records.statements import STARTED, Kept, Part, shortened
from lockgate.runner.wording import counted

__all__ = ["by_hand", "done_word", "joined", "left_in_the_middle", "listing", "refuse_half_way", "said_of", "way_out"]

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


def done_word(part: Part) -> str:
    """Return what was to be done to the revision."""
    return "applied" if part.direction == "upgrade" else "taken back"


def _finish(part: Part) -> str:
    """Return how a person ends what a run has begun."""
    stamp = part.revision if part.direction == "upgrade" else f"<the revision below {part.revision}>"
    return f"finish the revision by hand and `alembic stamp {stamp}`"


def _undo(part: Part) -> str:
    """Return how a person takes back what a run has recorded."""
    return f"undo by hand what is committed and DELETE FROM lockgate.statements WHERE revision = '{part.revision}'"


def by_hand(part: Part) -> str:
    """Return what to do with a revision that no run can continue."""
    return f"Either {_finish(part)}, or {_undo(part)}; then start another run."


def way_out(part: Part, kept: Iterable[Kept], *, recorded: bool) -> str:
    """Return what to do; ``kept`` is committed, and ``recorded``: the next run knows of it."""
    if not recorded:
        return f"Undo by hand what is committed, or {_finish(part)}; then start another run."
    if obstacle(kept):
        return by_hand(part)
    resume = "Let the next run continue behind it (`--half-applied Resume`, spec.policy.halfApplied)"
    return f"{resume}, or {_finish(part)}, or {_undo(part)}; then start another run."


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
        f"{_found(part, kept)}{unable} {part.version_table} still says {', '.join(rows) or 'base'}. Nothing was done.",
        advice=way_out(part, kept, recorded=True),
    )


def _found(part: Part, kept: tuple[Kept, ...]) -> str:
    return (
        f"Revision {part.revision} is half {done_word(part)}: an earlier run ended in the middle of it."
        f" Committed: {listing(kept)}."
    )


def refuse_half_way(earlier: Mapping[Part, tuple[Kept, ...]], *, upward: bool) -> None:
    """Raise HalfApplied where a revision was left in the middle of the other direction.

    Index work that can be repeated is no obstacle to going back; to going up it is: what was dropped is not made again.
    """
    for part, kept in earlier.items():
        other = (part.direction == "upgrade") != upward
        if other and (upward or not all(is_harmless(row.text) for row in kept)):
            again = "take it back again" if upward else "apply it"
            raise HalfApplied(
                f"{_found(part, kept)} Nothing was done.",
                advice=f"Finish that first: {again}, with --half-applied Resume, or {_undo(part)}.",
            )


def said_of(resumed: Mapping[str, int], unrecorded: Mapping[str, bool]) -> list[str]:
    """Return the warnings of a run that continued revisions, or could not record how far they are."""
    said = [
        f"Continued {revision} behind {counted(count, 'statement')} that an earlier try had committed."
        for revision, count in sorted(resumed.items())
    ]
    if names := sorted(revision for revision, matters in unrecorded.items() if matters):
        said.append(
            f"{', '.join(names)} committed in the middle, where its role may not write lockgate.statements: had the run"
            " been killed there, the next one would have begun it again. Grant that role USAGE on the schema lockgate,"
            " and SELECT, INSERT, UPDATE and DELETE on that table."
        )
    return said
