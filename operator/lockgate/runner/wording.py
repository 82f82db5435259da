"""Small matters of English that every message shares. Pure."""

from __future__ import annotations

__all__ = ["capitalized", "counted", "sentence"]


def capitalized(clause: str) -> str:
    """Return a clause as the beginning of a sentence."""
    return clause[:1].upper() + clause[1:]


def counted(number: int, noun: str) -> str:
    """Return ``1 revision``, ``2 revisions``; the plural is one with an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def sentence(text: str) -> str:
    """Return the text with a full stop at its end, unless it ends already."""
    return text if text.endswith((".", "?", "!")) else f"{text}."
