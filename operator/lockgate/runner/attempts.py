"""When a run that met the locks of others tries again, and how long its statements wait for a lock each time. Pure."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["backoff"]

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0


def backoff(attempt: int, uniform: Callable[[float, float], float]) -> float:
    """Return the seconds to pause after an attempt: 0.1, growing by 1.6, at most 10, with jitter."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 1.6 ** min(attempt - 1, 20)) * uniform(0.5, 1.0)
