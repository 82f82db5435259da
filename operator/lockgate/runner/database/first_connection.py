"""The first connection of a run: with patience, because databases start and fail over."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from lockgate.errors import DatabaseUnreachable, TooManySessions
from lockgate.runner.database import outcome
from lockgate.runner.durations import spoken
from lockgate.runner.output.progress import Narrator

__all__ = ["CONNECT_PATIENCE", "connect_patiently"]

CONNECT_PATIENCE = 30.0
"""Seconds in which a database that is not there yet, or fails over, is tried again before the pod ends."""


T = TypeVar("T")


def connect_patiently(
    connect: Callable[[], T], *, patience: float, narrator: Narrator, crowded: float | None = None
) -> T:
    """Return what ``connect`` does, trying again for ``patience`` seconds where the database cannot be reached.

    ``crowded``: seconds for which it is tried where the server has no session left.
    """
    start, attempt = time.monotonic(), 0
    while True:
        try:
            return connect()
        except Exception as caught:
            error = outcome.classify(caught, connecting=True)
            lasts = crowded if crowded is not None and isinstance(error, TooManySessions) else patience
            if not isinstance(error, DatabaseUnreachable) or time.monotonic() - start >= lasts:
                raise error from caught
        attempt += 1
        narrator.tell("connecting", f"{error.message} Trying again for {spoken(lasts)}.", waiting_for=error.message)
        time.sleep(min(0.5 * attempt, 3.0) * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret
