"""Runs `reconcile` for one resource after another: never two for the same one, a few at a time, again after a failure.

Whoever notices something (a watch, the resync, the last reconcile) only adds a key. What there is to do is found out by
reconcile itself, so a key that is added twice, late or in vain does no harm, and one that is lost comes back with the
next resync.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from lockgate.errors import LockgateError, Throttled
from lockgate.process.schedule import Key, Schedule

__all__ = ["QueueSink", "WorkQueue"]

log = logging.getLogger(__name__)


class QueueSink(Protocol):
    """Where the queue's figures go."""

    def reconciled(self, seconds: float) -> None:
        """Take how long one reconcile took, whatever came of it."""
        ...

    def reconcile_failed(self, reason: str) -> None:
        """Count one failed reconcile."""
        ...


class WorkQueue:
    """All methods but `add_from_thread` belong to the loop that `run` runs in."""

    def __init__(
        self,
        reconcile: Callable[[str, str], Awaitable[float | None]],
        *,
        sink: QueueSink,
        workers: int = 4,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``reconcile(namespace, name)`` returns after how many seconds it wants to be called again, or None."""
        self._reconcile, self._sink, self._workers = reconcile, sink, workers
        self._clock, self._sleep = clock, sleep
        self._schedule = Schedule(jitter=jitter)
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._progress = clock()

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Ask for a reconcile of ``key`` in ``delay`` seconds."""
        self._schedule.add(key, self._clock() + delay)
        self._changed.set()

    def add_from_thread(self, key: Key) -> None:
        """Ask for a reconcile from another thread. Before `run` has started it is ignored: the resync comes first."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.add, key)

    @property
    def stuck_seconds(self) -> float:
        """For how long work has been waiting or running without a single reconcile coming to its end."""
        now, due = self._clock(), self._schedule.next_due()
        if self._tasks:
            return now - self._progress
        return now - max(self._progress, due) if due is not None and due <= now else 0.0

    @property
    def depth(self) -> int:
        """How many keys are due or running."""
        return self._schedule.ready(self._clock()) + self._schedule.running

    async def run(self) -> None:
        """Take keys and reconcile them until cancelled; running reconciles are then left to `drain`."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            self._start()
            await self._wait()

    async def resync(self, lister: Callable[[], Awaitable[Sequence[Key]]], every: float = 300.0) -> None:
        """Add every key that ``lister`` returns: first all at once, then one after the other, every five minutes.

        One after the other, because a thousand keys that are due at the same time keep the one waiting whose migration
        has just ended. Runs until cancelled.
        """
        spread = 0.0
        while True:
            try:
                keys = await lister()
            except LockgateError as error:
                log.warning("Cannot list what there is to look after; next try in 10 s. %s", error)
                await self._sleep(10.0)
                continue
            for place, key in enumerate(keys):
                self.add(key, delay=spread * place / len(keys))
            spread = every
            await self._sleep(every)

    async def drain(self, grace: float) -> None:
        """Wait at most ``grace`` seconds for the running reconciles, then cancel them. For when `run` has ended."""
        if self._tasks and grace > 0:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self) -> None:
        while len(self._tasks) < self._workers and (key := self._schedule.take(self._clock())):
            if not self._tasks:
                self._progress = self._clock()  # idle until now
            task = asyncio.create_task(self._one(key), name=f"reconcile {key[0]}/{key[1]}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._progress = self._clock()
        self._changed.set()

    async def _wait(self) -> None:
        """Wait until something was added or has ended, or until the next key is due and a worker is free."""
        due = self._schedule.next_due()
        waits: list[asyncio.Future[object]] = [asyncio.ensure_future(self._changed.wait())]
        if due is not None and len(self._tasks) < self._workers:
            waits.append(asyncio.ensure_future(self._sleep(max(0.0, due - self._clock()))))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _one(self, key: Key) -> None:
        began = self._clock()
        try:
            again_in = await self._reconcile(*key)
        except Exception as error:  # whatever it was, the other resources go on
            self._failed(key, error)
        else:
            self._schedule.succeeded(key, self._clock(), again_in)
        finally:
            self._sink.reconciled(self._clock() - began)

    def _failed(self, key: Key, error: Exception) -> None:
        wanted = error.retry_after if isinstance(error, Throttled) else 0.0
        delay = self._schedule.failed(key, self._clock(), wanted)
        known = isinstance(error, LockgateError)
        reason = error.reason if isinstance(error, LockgateError) else "Unexpected"
        self._sink.reconcile_failed(reason)
        log.log(
            logging.WARNING if known else logging.ERROR,
            "Reconcile of %s/%s failed, next try in %.1f s. %s",
            *key,
            delay,
            error if known else f"{type(error).__name__}: {error}",
            extra={"reason": reason},
            exc_info=None if known else error,
        )
