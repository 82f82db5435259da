"""Texts for status and events: one line, of bounded length, stable between passes, never a traceback."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["identifiers", "meaningful", "named", "one_line", "plural", "sentence", "summary"]

MESSAGE_LIMIT = 1000
"""Characters. Long enough for a statement and advice, short enough for ``kubectl describe``."""

REASON = re.compile(r"[A-Z][A-Za-z0-9]{0,99}")
IDENTIFIER_LIMIT = 253
"""Characters. Alembic's version column has room for 32, and may be widened."""
HARMLESS = ("ImportError", "ModuleNotFoundError", "SyntaxError")
"""Exceptions whose text names modules and nothing else. Any other may quote what it was given: a URL, a row."""


def one_line(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return the text with all white space as single spaces, cut at ``limit`` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def sentence(text: str) -> str:
    """Return the text with a full stop, unless it ends like a sentence already."""
    text = text.rstrip()
    return text if text.endswith((".", "!", "?", "…", "`")) else f"{text}."


def meaningful(text: str) -> str:
    """Return the line of a container's last words that may go into a status, or nothing.

    ``FallbackToLogsOnError`` makes the end of the log the termination message of a container that wrote no report. That
    may be anything the application printed, so only import errors are taken from it.
    """
    for line in reversed(text.splitlines()):
        name = re.match(r"[\w.]+", line)
        if name and name[0].rpartition(".")[2] in HARMLESS and line[name.end() :].startswith(":"):
            return one_line(line, 300)
    return ""


def named(reason: str, otherwise: str) -> str:
    """Return a reason that a container has printed, or another one where conditions could not carry it."""
    return reason if REASON.fullmatch(reason) else otherwise


def identifiers(revisions: Sequence[str]) -> tuple[str, ...]:
    """Return the revisions among what a container has printed: what no status could carry is none."""
    return tuple(revision for revision in revisions if 0 < len(revision) <= IDENTIFIER_LIMIT)


def summary(revisions: Sequence[str]) -> str:
    """Return some revisions as a printer column shows them: at most two, shortened."""
    shown = ",".join(revision[:12] for revision in revisions[:2])
    return f"{shown}+{len(revisions) - 2}" if len(revisions) > 2 else shown


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 revision``, ``2 revisions``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
