from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from lockgate.errors import Forbidden, Missing, Unavailable
from lockgate.process.access import Access
from lockgate.process.health import HealthServer
from lockgate.process.metrics import Metrics


class State:
    live: str | None = None
    ready: str | None = None


Get = Callable[[str], Awaitable[tuple[int, str]]]


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
async def get(state: State) -> AsyncIterator[Get]:
    server = HealthServer(
        live={"queue": lambda: state.live}, ready={"access": lambda: state.ready}, metrics=Metrics().text
    )
    port = await server.start("127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, await answer.text()

        yield get
    await server.close()


async def test_all_is_well_when_no_check_complains(get: Get) -> None:
    assert await get("/healthz") == (200, "ok\n")
    assert await get("/readyz") == (200, "ok\n")


async def test_not_being_ready_is_no_reason_for_a_restart(get: Get, state: State) -> None:
    state.ready = "CRD is missing"
    assert await get("/healthz") == (200, "ok\n")
    assert await get("/readyz") == (503, "access: CRD is missing\n")


async def test_what_is_not_alive_is_not_ready_either(get: Get, state: State) -> None:
    state.live = "no reconcile has ended for 700 s"
    assert await get("/healthz") == (503, "queue: no reconcile has ended for 700 s\n")
    assert (await get("/readyz"))[0] == 503


async def test_a_change_is_logged_once_and_not_with_every_probe(
    get: Get, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lockgate.process.health")
    state.ready = "CRD is missing"
    for _ in range(3):
        await get("/readyz")
    state.ready = None
    for _ in range(3):
        await get("/readyz")
    assert [record.getMessage() for record in caplog.records if record.name == "lockgate.process.health"] == [
        "/readyz now answers: access: CRD is missing",
        "/readyz now answers: ok",
    ]


async def test_metrics_are_served_in_the_format_of_prometheus(get: Get) -> None:
    status, text = await get("/metrics")
    assert status == 200
    assert 'lockgate_migrations{phase="Ready"} 0.0' in text


class Reachable:
    def __init__(self, *problems: Exception | None) -> None:
        self.problems = list(problems)
        self.asked: list[tuple[str, str | None]] = []
        self.down = False

    async def check_access(self, kind, namespace) -> None:
        self.asked.append((kind.plural, namespace))
        if self.problems and (problem := self.problems.pop(0)):
            raise problem

    async def ping(self) -> None:
        if self.down:
            raise Unavailable("down")


async def test_the_operator_waits_for_what_is_missing_and_says_what(virtual_time, spawn) -> None:
    cluster = Reachable(Missing("no CRD"), Missing("no CRD"), None, Forbidden("no right"))
    access = Access(cluster, (), clock=virtual_time.clock, sleep=virtual_time.sleep)
    assert access.missing()
    waiting = spawn(access.wait())
    await virtual_time.settle()
    assert access.missing() == "no CRD"
    await virtual_time.pass_by(11)
    assert access.missing() == "no right"
    assert not waiting.done()
    await virtual_time.pass_by(5)
    assert waiting.done()
    assert access.missing() is None


async def test_every_watched_kind_is_tried_in_every_namespace(virtual_time) -> None:
    cluster = Reachable()
    await Access(cluster, ("a", "b"), clock=virtual_time.clock, sleep=virtual_time.sleep).wait()
    kinds = ("databasemigrations", "jobs", "pods")
    assert cluster.asked == [(kind, namespace) for namespace in ("a", "b") for kind in kinds]


async def test_an_api_server_that_stays_silent_makes_the_operator_unready(virtual_time, spawn) -> None:
    cluster = Reachable()
    access = Access(cluster, (), clock=virtual_time.clock, sleep=virtual_time.sleep)
    assert access.unreachable() == "not reached yet"
    spawn(access.keep_asking())
    await virtual_time.pass_by(100)
    assert access.unreachable() is None
    cluster.down = True
    await virtual_time.pass_by(30)
    assert access.unreachable() is None, "a short outage is not worth mentioning"
    await virtual_time.pass_by(20)
    assert "not reached for" in (access.unreachable() or "")
    cluster.down = False
    await virtual_time.pass_by(10)
    assert access.unreachable() is None
