"""Keeps the known secrets of a run out of what env.py and the revisions print.

They print through Python's own ``sys.stdout`` and ``sys.stderr``, as does ``logging``. What goes past those (a program
that env.py starts, ``sys.stdout.buffer``) is not seen here. Only the secrets that the run knows are replaced: whatever
else an application prints stays as it is.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, cast

__all__ = ["encode_everything", "masked_streams"]


def encode_everything() -> None:
    """Let stdout and stderr write any letter: one that their encoding does not have, with a backslash."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            with contextlib.suppress(OSError, ValueError):  # closed
                reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def masked_streams(known: Callable[[str], str]) -> Iterator[None]:
    """Pass what is printed in this context through ``known``."""
    replaced = {}
    for name in ("stdout", "stderr"):
        stream = cast("TextIO | None", getattr(sys, name))  # None where the process has none
        if stream is not None:
            replaced[name] = (stream, _Masked(stream, known))
            setattr(sys, name, replaced[name][1])
    try:
        yield
    finally:
        for name, (before, ours) in replaced.items():
            if getattr(sys, name) is ours:
                setattr(sys, name, before)


class _Masked:
    """Stands in for a stream."""

    def __init__(self, stream: TextIO, known: Callable[[str], str]) -> None:
        self._stream = stream
        self._known = known

    def write(self, text: str) -> int:
        """Write the text without secrets."""
        self._stream.write(self._known(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write these lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
