"""Text that has to fit into columns of a terminal, and must not steer it. Pure."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["fitted", "visible", "width_of"]

_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]+")
"""Control characters: an escape sequence in a revision's message must not move the cursor, nor turn a line around."""


def visible(text: str) -> str:
    """Return the text on one line, without anything that a terminal would obey."""
    return _INVISIBLE.sub(" ", text).strip()


def width_of(text: str) -> int:
    """Return how many columns a terminal gives to this text."""
    return sum(map(_columns, text)) if not text.isascii() else len(text)


def fitted(text: str, width: int, *, pad: bool = False, more: str = "…") -> str:
    """Return the text in at most ``width`` columns, cut with ``more``; with ``pad`` in exactly as many."""
    text = visible(text)
    if width <= 0:
        return ""
    if width_of(text) > width:
        kept, room = [], width - len(more)
        for sign in text:
            room -= _columns(sign)
            if room < 0:
                break
            kept.append(sign)
        text = ("".join(kept) + more)[: max(width, 0)]
    return text + " " * (width - width_of(text)) if pad else text


def _columns(sign: str) -> int:
    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1
