"""A clock that only moves when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest


class VirtualTime:
    """``clock`` and ``sleep`` as the modules under test take them; `pass_by` moves time on and lets everybody run."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, waked))
        await waked

    async def settle(self) -> None:
        """Let every task run until it waits for something."""
        for _ in range(300):
            await asyncio.sleep(0)

    async def pass_by(self, seconds: float) -> None:
        until = self.now + seconds
        await self.settle()
        while True:
            self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[1].done()]
            following = min((when for when, _ in self._sleepers), default=until + 1)
            if following > until:
                break
            self.now = max(self.now, following)
            for when, waked in self._sleepers:
                if when <= self.now and not waked.done():
                    waked.set_result(None)
            await self.settle()
        self.now = until
        await self.settle()


@pytest.fixture
def virtual_time() -> VirtualTime:
    return VirtualTime()


@pytest.fixture
async def spawn() -> AsyncIterator[Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]]:
    """Start tasks that end with the test."""
    tasks: list[asyncio.Task[Any]] = []

    def start(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        tasks.append(asyncio.create_task(work))
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
