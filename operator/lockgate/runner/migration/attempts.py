"""When a run that met the locks of others tries again, and how long its statements wait for a lock each time. Pure."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["backoff", "lock_timeout_ms"]

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0


def backoff(attempt: int, uniform: Callable[[float, float], float]) -> float:
    """Return the seconds to pause after an attempt: 0.1, growing by 1.6, at most 10, with jitter."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 1.6 ** min(attempt - 1, 20)) * uniform(0.5, 1.0)


FIRST_LOCK_TIMEOUT = 0.2
SHORTEST_LOCK_TIMEOUT_MS = 40
FULL_LOCK_TIMEOUT_AT = 18


def lock_timeout_ms(attempt: int, most_ms: int, attempts: int) -> int:
    """Return how long a statement of this attempt, of so many, may wait for a lock: a fifth of the most at first.

    Whoever reads the table waits behind it for as long. Most locks are free at once, or after many short waits just as
    soon as after a few long ones; only where short transactions follow one another without a gap is the most needed:
    from the 18th attempt on, or in the second half of fewer. 0 means no limit. What is less than the most ends in 3:
    `settings_statement` knows it by that, in a session that env.py keeps in a pool, from a stricter one of env.py's.
    """
    full = min(FULL_LOCK_TIMEOUT_AT, (attempts + 1) // 2)
    if attempt >= full:
        return most_ms
    share: float = FIRST_LOCK_TIMEOUT ** (1 - (attempt - 1) / (full - 1))
    return min(most_ms, int(max(SHORTEST_LOCK_TIMEOUT_MS, most_ms * share)) // 10 * 10 + 3)
