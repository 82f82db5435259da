from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from lockgate.errors import Conflict, Throttled, Unavailable
from lockgate.process.work_queue import WorkQueue

Key = tuple[str, str]


class Figures:
    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.failures: Counter[str] = Counter()

    def reconciled(self, seconds: float) -> None:
        self.seconds.append(seconds)

    def reconcile_failed(self, reason: str) -> None:
        self.failures[reason] += 1


class Bench:
    """A queue with a reconcile that a test can steer: blocked keys wait, broken ones raise."""

    def __init__(self, virtual_time) -> None:
        self.time, self.figures = virtual_time, Figures()
        self.runs: list[tuple[float, str]] = []
        self.running: list[str] = []
        self.most_at_once = 0
        self.blocked: dict[str, asyncio.Event] = {}
        self.broken: dict[str, Exception] = {}
        self.again: dict[str, float] = {}
        self.queue = WorkQueue(
            self.reconcile,
            sink=self.figures,
            workers=2,
            clock=virtual_time.clock,
            sleep=virtual_time.sleep,
            jitter=lambda: 0.0,
        )

    async def reconcile(self, namespace: str, name: str) -> float | None:
        assert namespace == "ns"
        assert name not in self.running, "two reconciles of one resource at a time"
        self.runs.append((self.time.now - 1000, name))
        self.running.append(name)
        self.most_at_once = max(self.most_at_once, len(self.running))
        try:
            if name in self.blocked:
                await self.blocked[name].wait()
            if name in self.broken:
                raise self.broken[name]
            return self.again.get(name)
        finally:
            self.running.remove(name)

    def names(self) -> list[str]:
        return [name for _, name in self.runs]


@pytest.fixture
async def bench(virtual_time) -> AsyncIterator[Bench]:
    bench = Bench(virtual_time)
    task = asyncio.create_task(bench.queue.run())
    await virtual_time.settle()
    yield bench
    task.cancel()
    await bench.queue.drain(0)


async def test_an_added_key_is_reconciled_once(bench: Bench) -> None:
    for _ in range(3):
        bench.queue.add(("ns", "shop"))
    await bench.time.pass_by(1000)
    assert bench.runs == [(0, "shop")]
    assert len(bench.figures.seconds) == 1


async def test_no_more_run_at_once_than_there_are_workers(bench: Bench) -> None:
    for name in "abcde":
        bench.blocked[name] = asyncio.Event()
        bench.queue.add(("ns", name))
    await bench.time.settle()
    assert bench.running == ["a", "b"]
    assert bench.queue.depth == 5
    for name in "abcde":
        bench.blocked[name].set()
    await bench.time.settle()
    assert sorted(bench.names()) == list("abcde")
    assert bench.most_at_once == 2
    assert bench.queue.depth == 0


async def test_a_key_that_is_added_while_it_runs_runs_again_afterwards(bench: Bench) -> None:
    bench.blocked["shop"] = asyncio.Event()
    bench.queue.add(("ns", "shop"))
    await bench.time.settle()
    bench.queue.add(("ns", "shop"))
    bench.queue.add(("ns", "shop"))
    await bench.time.pass_by(5)
    assert bench.names() == ["shop"]
    bench.blocked["shop"].set()
    await bench.time.pass_by(1)
    assert bench.names() == ["shop", "shop"]


async def test_a_reconcile_comes_back_when_it_asked_to(bench: Bench) -> None:
    bench.again["shop"] = 30
    bench.queue.add(("ns", "shop"))
    await bench.time.pass_by(65)
    assert [when for when, _ in bench.runs] == [0, 30, 60]


async def test_an_event_brings_forward_what_was_planned_for_later(bench: Bench) -> None:
    bench.again["shop"] = 30
    bench.queue.add(("ns", "shop"))
    await bench.time.pass_by(10)
    bench.queue.add(("ns", "shop"))
    await bench.time.pass_by(25)
    assert [when for when, _ in bench.runs] == [0, 10]


async def test_a_failing_key_is_tried_ever_more_rarely_and_never_stops_the_others(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.broken["bad"] = Conflict("Cannot patch databasemigrations ns/bad: changed.")
    bench.queue.add(("ns", "bad"))
    for second in range(100):
        bench.queue.add(("ns", "good"), delay=second)
    await bench.time.pass_by(40)
    assert [when for when, name in bench.runs if name == "bad"] == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert "good" in bench.names()
    assert bench.figures.failures == {"Conflict": 7}
    lines = [record for record in caplog.records if record.name == "lockgate.process.work_queue"]
    assert len(lines) == 7
    assert lines[0].getMessage() == (
        "Reconcile of ns/bad failed, next try in 0.5 s. Cannot patch databasemigrations ns/bad: changed."
    )
    assert not lines[0].exc_info, "no traceback for what the API server says"


async def test_success_resets_the_pause(bench: Bench) -> None:
    bench.broken["shop"] = Unavailable("down")
    bench.queue.add(("ns", "shop"))
    await bench.time.pass_by(4)
    del bench.broken["shop"]
    bench.queue.add(("ns", "shop"))
    await bench.time.pass_by(1)
    bench.broken["shop"] = Unavailable("down")
    bench.runs.clear()
    bench.queue.add(("ns", "shop"))
    start = bench.time.now - 1000
    await bench.time.pass_by(2)
    assert [when - start for when, _ in bench.runs] == [0, 0.5, 1.5]


async def test_retry_after_is_respected(bench: Bench) -> None:
    bench.broken["shop"] = Throttled("slow down", retry_after=20)
    bench.queue.add(("ns", "shop"))
    await bench.time.pass_by(19)
    assert bench.names() == ["shop"]
    await bench.time.pass_by(2)
    assert bench.names() == ["shop", "shop"]


async def test_a_bug_leaves_a_traceback_and_the_queue_goes_on(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.broken["bug"] = KeyError("spec")
    bench.queue.add(("ns", "bug"))
    bench.queue.add(("ns", "good"))
    await bench.time.settle()
    assert bench.names() == ["bug", "good"]
    assert bench.figures.failures == {"Unexpected": 1}
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert line.exc_info
    assert "KeyError: 'spec'" in line.getMessage()


async def test_the_queue_is_stuck_when_work_is_there_and_none_ends(bench: Bench) -> None:
    await bench.time.pass_by(500)
    assert bench.queue.stuck_seconds == 0, "nothing to do is no reason to worry"
    bench.blocked["shop"] = asyncio.Event()
    bench.queue.add(("ns", "shop"))
    await bench.time.pass_by(100)
    assert bench.queue.stuck_seconds == 100
    bench.blocked["shop"].set()
    await bench.time.settle()
    assert bench.queue.stuck_seconds == 0


async def test_waiting_for_a_later_look_is_not_being_stuck(bench: Bench) -> None:
    bench.again["shop"] = 900
    bench.queue.add(("ns", "shop"))
    await bench.time.pass_by(899)
    assert bench.queue.stuck_seconds == 0
    bench.blocked["shop"] = asyncio.Event()
    await bench.time.pass_by(2)
    assert bench.running == ["shop"]
    assert bench.queue.stuck_seconds <= 1


async def test_the_end_waits_for_what_runs_and_starts_nothing_new(virtual_time) -> None:
    bench = Bench(virtual_time)
    task = asyncio.create_task(bench.queue.run())
    bench.blocked["shop"] = asyncio.Event()
    bench.queue.add(("ns", "shop"))
    await virtual_time.settle()
    task.cancel()
    await virtual_time.settle()
    bench.queue.add(("ns", "late"))
    draining = asyncio.create_task(bench.queue.drain(grace=60))
    await virtual_time.settle()
    assert not draining.done()
    bench.blocked["shop"].set()
    await draining
    assert bench.names() == ["shop"]


async def test_the_end_does_not_wait_for_ever(virtual_time) -> None:
    bench = Bench(virtual_time)
    task = asyncio.create_task(bench.queue.run())
    bench.blocked["shop"] = asyncio.Event()
    bench.queue.add(("ns", "shop"))
    await virtual_time.settle()
    task.cancel()
    await bench.queue.drain(grace=0.01)
    assert bench.running == []


async def test_keys_may_come_from_another_thread(bench: Bench) -> None:
    def notice() -> None:
        for number in range(50):
            bench.queue.add_from_thread(("ns", str(number)))

    thread = threading.Thread(target=notice)
    thread.start()
    await asyncio.to_thread(thread.join)
    await bench.time.pass_by(1)
    assert sorted(bench.names(), key=int) == [str(number) for number in range(50)]


def _listing(answers: list[list[Key] | Exception]) -> Callable[[], Awaitable[list[Key]]]:
    async def lister() -> list[Key]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return lister


async def test_everything_is_looked_at_at_the_start_and_every_five_minutes(bench: Bench) -> None:
    every = [("ns", "a"), ("ns", "b")]
    task = asyncio.create_task(bench.queue.resync(_listing([every, every, every, []])))
    await bench.time.pass_by(899)
    assert bench.runs == [(0, "a"), (0, "b"), (300, "a"), (450, "b"), (600, "a"), (750, "b")]
    task.cancel()


async def test_a_resync_of_many_does_not_keep_news_waiting(bench: Bench) -> None:
    many = [("ns", str(number)) for number in range(1000)]
    task = asyncio.create_task(bench.queue.resync(_listing([[], many, []])))
    await bench.time.pass_by(301)
    assert 1 <= len(bench.runs) < 10
    bench.queue.add(("ns", "999"))
    await bench.time.settle()
    assert bench.runs[-1] == (301, "999")
    task.cancel()


async def test_a_resync_that_cannot_list_tries_again_soon(bench: Bench) -> None:
    task = asyncio.create_task(bench.queue.resync(_listing([Unavailable("down"), [("ns", "a")], []])))
    await bench.time.pass_by(15)
    assert bench.runs == [(10, "a")]
    task.cancel()
