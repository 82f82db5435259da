"""When each resource is looked at next: due times, one run at a time, back-off. No I/O, no clock: `now` is an argument.

Times are seconds of any clock that never goes back.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

__all__ = ["Key", "Schedule"]

Key = tuple[str, str]
"""Namespace and name of a DatabaseMigration."""


class Schedule:
    """A queue of keys without duplicates. Of several wishes for one key the earliest wins."""

    def __init__(
        self, *, jitter: Callable[[], float], first: float = 0.5, longest: float = 60.0, spacing: float = 0.2
    ) -> None:
        """Set the back-off: ``first`` seconds, doubled with each failure in a row up to ``longest``; less up to 1/4.

        ``jitter`` returns a number from 0 to 1. ``spacing`` is the pause after each run of a key: a rollout of many
        pods sends hundreds of events about one resource, which then cost five looks a second and not hundreds.
        """
        self._jitter, self._first, self._longest, self._spacing = jitter, first, longest, spacing
        self._due: dict[Key, float] = {}
        self._heap: list[
            tuple[float, int, Key]
        ] = []  # may hold outdated entries: only those that agree with _due count
        self._order = itertools.count()
        self._running: dict[Key, float | None] = {}  # with the time that was asked for while it runs
        self._rested: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}

    def __len__(self) -> int:
        """Return how many keys wait, whether due or not."""
        return len(self._due)

    @property
    def running(self) -> int:
        """How many keys were taken and not yet given back."""
        return len(self._running)

    def ready(self, now: float) -> int:
        """Return how many keys could be taken now."""
        return sum(due <= now for due in self._due.values())

    def add(self, key: Key, when: float) -> None:
        """Ask for a look at ``key`` at ``when``; while it runs, for another one afterwards."""
        if key in self._running:
            asked = self._running[key]
            self._running[key] = when if asked is None else min(asked, when)
            return
        when = max(when, self._rested.get(key, when))
        if when < self._due.get(key, float("inf")):
            self._due[key] = when
            heapq.heappush(self._heap, (when, next(self._order), key))

    def take(self, now: float) -> Key | None:
        """Return the key that has been due for longest, and count it as running; None if nothing is due."""
        due = self.next_due()
        if due is None or due > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._due[key]
        self._running[key] = None
        return key

    def next_due(self) -> float | None:
        """Return when the next key is due; None if none waits."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def succeeded(self, key: Key, now: float, again_in: float | None) -> None:
        """Give a key back after a good run; its back-off is forgotten."""
        self._failures.pop(key, None)
        self._give_back(key, now, None if again_in is None else now + again_in)

    def failed(self, key: Key, now: float, at_least: float = 0.0) -> float:
        """Give a key back after a bad run, and return after how many seconds it is tried again."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        backoff = min(self._longest, self._first * 2.0 ** min(failures, 30)) * (1 - self._jitter() / 4)
        delay = max(backoff, at_least)
        self._give_back(key, now, now + delay)
        return delay

    def _give_back(self, key: Key, now: float, again: float | None) -> None:
        asked = self._running.pop(key)
        if len(self._rested) > 1000:  # deleted resources would stay in it for ever
            self._rested = {other: until for other, until in self._rested.items() if until > now}
        self._rested[key] = now + self._spacing
        wishes = [when for when in (asked, again) if when is not None]
        if wishes:
            self.add(key, min(wishes))
