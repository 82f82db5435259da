from __future__ import annotations

import asyncio
import copy
from datetime import datetime, timedelta, timezone

import pytest

from lockgate.errors import AlreadyExists, Conflict, Missing, Unavailable
from lockgate.process.leader_election import LeaderElection, LeaseTimes


class LeaseServer:
    """One Lease with resourceVersions, as the API server guards it."""

    def __init__(self) -> None:
        self.lease: dict | None = None
        self.version = 0
        self.down = False
        self.hangs = False
        self.writes = 0

    async def _answer(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.down:
            raise Unavailable("No answer.")

    async def get(self, kind, namespace, name):
        await self._answer()
        if self.lease is None:
            raise Missing("no lease")
        return copy.deepcopy(self.lease)

    async def create(self, kind, namespace, body):
        await self._answer()
        if self.lease is not None:
            raise AlreadyExists("there is one")
        return self._store(body)

    async def replace(self, kind, namespace, name, body):
        await self._answer()
        if body["metadata"]["resourceVersion"] != str(self.version):
            raise Conflict("changed")
        return self._store(body)

    def _store(self, body):
        self.version += 1
        self.writes += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)

    @property
    def spec(self) -> dict:
        assert self.lease is not None
        return self.lease["spec"]


@pytest.fixture
def server() -> LeaseServer:
    return LeaseServer()


@pytest.fixture
def candidate(server: LeaseServer, virtual_time):
    def make(identity: str, clock_off_by: timedelta = timedelta()) -> LeaderElection:
        start = datetime(2026, 11, 21, 8, 0, tzinfo=timezone.utc) + clock_off_by
        return LeaderElection(
            server,
            namespace="lockgate-system",
            name="lockgate-operator",
            identity=identity,
            clock=virtual_time.clock,
            today=lambda: start + timedelta(seconds=virtual_time.now - 1000),
            sleep=virtual_time.sleep,
            jitter=lambda: 0.0,
        )

    return make


async def test_the_first_one_creates_the_lease(server: LeaseServer, candidate) -> None:
    await candidate("a").acquire()
    assert server.spec == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-11-21T08:00:00.000000Z",
        "renewTime": "2026-11-21T08:00:00.000000Z",
        "leaseTransitions": 0,
    }


async def test_a_holder_that_renews_keeps_the_others_out(server: LeaseServer, candidate, virtual_time) -> None:
    a, b = candidate("a"), candidate("b")
    await a.acquire()
    hold, wait = asyncio.create_task(a.hold()), asyncio.create_task(b.acquire())
    await virtual_time.pass_by(300)
    assert not hold.done()
    assert not wait.done()
    assert server.spec["holderIdentity"] == "a"
    assert server.spec["acquireTime"] == "2026-11-21T08:00:00.000000Z"
    assert server.spec["renewTime"] == "2026-11-21T08:05:00.000000Z"
    hold.cancel()
    wait.cancel()


async def test_a_dead_holder_is_replaced_when_its_lease_has_not_changed_for_its_duration(
    server: LeaseServer, candidate, virtual_time
) -> None:
    await candidate("a").acquire()  # and never renews
    b = asyncio.create_task(candidate("b").acquire())
    await virtual_time.pass_by(14)
    assert not b.done()
    await virtual_time.pass_by(3)
    assert b.done()
    assert server.spec["holderIdentity"] == "b"
    assert server.spec["leaseTransitions"] == 1


async def test_clocks_of_two_machines_are_not_compared(server: LeaseServer, candidate, virtual_time) -> None:
    a = candidate("a", clock_off_by=timedelta(hours=-5))
    await a.acquire()
    hold = asyncio.create_task(a.hold())
    b = asyncio.create_task(candidate("b").acquire())
    await virtual_time.pass_by(120)
    assert not b.done(), "renewTime is five hours old, yet it moves"
    hold.cancel()
    b.cancel()


async def test_a_released_lease_is_taken_at_once(server: LeaseServer, candidate, virtual_time) -> None:
    a = candidate("a")
    await a.acquire()
    waiting = asyncio.create_task(candidate("b").acquire())
    await virtual_time.pass_by(5)
    await a.release()
    assert server.spec["holderIdentity"] == ""
    await virtual_time.pass_by(2.1)
    assert waiting.done()
    assert server.spec["holderIdentity"] == "b"
    assert server.spec["leaseDurationSeconds"] == 15
    assert server.spec["leaseTransitions"] == 1


async def test_nobody_releases_the_lease_of_another(server: LeaseServer, candidate) -> None:
    await candidate("a").acquire()
    await candidate("b").release()
    assert server.spec["holderIdentity"] == "a"


async def test_of_two_that_grab_at_once_one_wins(server: LeaseServer, candidate, virtual_time) -> None:
    await candidate("dead").acquire()
    tasks = {name: asyncio.create_task(candidate(name).acquire()) for name in ("b", "c")}
    await virtual_time.pass_by(20)
    winners = [name for name, task in tasks.items() if task.done()]
    assert winners == [server.spec["holderIdentity"]]
    for task in tasks.values():
        task.cancel()


async def test_a_holder_that_cannot_renew_gives_up_before_another_may_start(
    server: LeaseServer, candidate, virtual_time
) -> None:
    a = candidate("a")
    await a.acquire()
    hold = asyncio.create_task(a.hold())
    server.down = True
    await virtual_time.pass_by(9)
    assert not hold.done()
    await virtual_time.pass_by(3)
    assert hold.done()
    assert hold.result() == "it was not renewed for 10 s: No answer."


async def test_a_short_outage_is_survived(server: LeaseServer, candidate, virtual_time) -> None:
    a = candidate("a")
    await a.acquire()
    hold = asyncio.create_task(a.hold())
    for _ in range(5):
        server.down = True
        await virtual_time.pass_by(5)
        server.down = False
        await virtual_time.pass_by(4)
    assert not hold.done()
    hold.cancel()


async def test_a_call_that_hangs_ends_with_the_renew_deadline(server: LeaseServer) -> None:
    a = LeaderElection(
        server, namespace="n", name="l", identity="a", times=LeaseTimes(duration=0.3, deadline=0.2, retry=0.05)
    )
    await a.acquire()
    server.hangs = True
    async with asyncio.timeout(5):
        assert "not renewed for 0.2 s" in await a.hold()


async def test_a_lease_that_somebody_else_took_is_lost(server: LeaseServer, candidate, virtual_time) -> None:
    a = candidate("a")
    await a.acquire()
    hold = asyncio.create_task(a.hold())
    server._store(server.lease | {"spec": server.spec | {"holderIdentity": "thief"}})
    await virtual_time.pass_by(2)
    assert hold.result() == "thief holds it now"


async def test_a_foreign_change_in_between_is_no_reason_to_give_up(
    server: LeaseServer, candidate, virtual_time
) -> None:
    a = candidate("a")
    await a.acquire()
    genuine, meddled = server.replace, []

    async def replace(kind, namespace, name, body):
        if not meddled:
            meddled.append(True)
            server.version += 1
            server.lease["metadata"]["resourceVersion"] = str(server.version)
        return await genuine(kind, namespace, name, body)

    server.replace = replace
    hold = asyncio.create_task(a.hold())
    await virtual_time.pass_by(30)
    assert meddled
    assert not hold.done()
    hold.cancel()


async def test_a_lease_that_was_deleted_is_made_anew(server: LeaseServer, candidate, virtual_time) -> None:
    a = candidate("a")
    await a.acquire()
    hold = asyncio.create_task(a.hold())
    server.lease = None
    await virtual_time.pass_by(3)
    assert server.spec["holderIdentity"] == "a"
    hold.cancel()


async def test_acquiring_waits_out_an_api_server_that_is_down(server: LeaseServer, candidate, virtual_time) -> None:
    server.down = True
    a = candidate("a")
    acquire = asyncio.create_task(a.acquire())
    await virtual_time.pass_by(60)
    assert not acquire.done()
    assert a.problem == "No answer."
    server.down = False
    await virtual_time.pass_by(3)
    assert acquire.done()
    assert a.problem is None


async def test_standing_by_is_no_problem(candidate, virtual_time, spawn) -> None:
    a, b = candidate("a"), candidate("b")
    await a.acquire()
    spawn(a.hold())
    spawn(b.acquire())
    await virtual_time.pass_by(30)
    assert b.problem is None


async def test_releasing_a_lease_never_raises(server: LeaseServer, candidate) -> None:
    a = candidate("a")
    await a.acquire()
    server.down = True
    await a.release()


@pytest.mark.parametrize("times", [(15, 15, 2), (10, 15, 2), (15, 10, 10)])
def test_times_that_would_let_two_work_at_once_are_refused(times: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="duration > deadline > retry"):
        LeaseTimes(*times)
