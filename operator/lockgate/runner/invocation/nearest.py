"""What was probably meant by a word that is not known."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(said: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """Return the one that is most like it, or nothing; ``likeness`` is from 0 to 1, the same."""
    import difflib  # noqa: PLC0415  # hardly any run needs it

    return next(iter(difflib.get_close_matches(said, sorted(known), 1, likeness)), "")
