"""Durations as people write them in the resource and on the command line: ``500ms``, ``1h30m``, ``0s``."""

from __future__ import annotations

import re

__all__ = ["parse_duration", "spoken"]

_WHOLE = re.compile(r"(?:[0-9]+(?:ms|s|m|h))+")
_PART = re.compile(r"([0-9]+)(ms|s|m|h)")
YEAR = 366 * 24 * 3600.0
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Return the seconds that ``text`` means; ValueError where it is not a duration."""
    if not _WHOLE.fullmatch(text):
        raise ValueError("not a duration; write it like 500ms, 30s, 15m or 1h30m")
    parts = _PART.findall(text)
    # Twelve digits first: a number of thousands is none that could be multiplied.
    if any(len(number) > 12 for number, _ in parts) or _sum(parts) > YEAR:
        raise ValueError("longer than a year")
    return _sum(parts)


def _sum(parts: list[tuple[str, str]]) -> float:
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


def spoken(seconds: float) -> str:
    """Return a duration for people: ``350ms``, ``2.5s``, ``3m``, ``1h5m``."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.1f}".rstrip("0").rstrip(".") + "s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes}m"
    return f"{minutes // 60}h{minutes % 60}m" if minutes % 60 else f"{minutes // 60}h"
