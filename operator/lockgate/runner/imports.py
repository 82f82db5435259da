"""Keeps Python's garbage collector from looking for garbage while an application is imported, where there is none.

Each import makes objects that stay, and by default the collector goes through all of them again and again: up to a
tenth of the time of an application's imports. When env.py hands over its connection, its imports are over, and the
collector works as always, but no longer goes through what was there before.
"""

from __future__ import annotations

import gc

__all__ = ["begin_imports", "end_imports"]

_RARELY = (500_000, 50, 1000)
"""New objects before the youngest are looked at, and how many such looks before older ones are."""

_before: list[tuple[int, int, int]] = []


def begin_imports() -> None:
    """Look rarely from now on; for a process that is all ours."""
    _before.append(gc.get_threshold())
    gc.set_threshold(*_RARELY)


def end_imports() -> None:
    """Look as often as before `begin_imports`; nothing where that was not called, or somebody else has decided."""
    if _before:
        thresholds = _before.pop()
        if gc.get_threshold() == _RARELY:
            gc.set_threshold(*thresholds)
            gc.freeze()
