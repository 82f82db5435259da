"""Every status that the operator can make is accepted by a real API server, before and after every other one."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from any_status import lives
from api_server import ApiServer as Server
from hypothesis import HealthCheck, given, settings
from operator_stories import OTHERS, STORIES
from operator_world import World, minimal_spec

from lockgate.api.cluster import DATABASE_MIGRATION, Cluster
from lockgate.api.connection import ApiServer
from lockgate.errors import Invalid

NUMBERS = itertools.count(1)


@pytest.fixture
async def cluster(api_server: Server) -> AsyncIterator[Cluster]:
    server = await ApiServer.connect(str(api_server.kubeconfig))
    yield Cluster(server)
    await server.close()


@pytest.fixture
async def resource(cluster: Cluster) -> dict[str, Any]:
    """Create a resource of the test's own."""
    body = {
        "apiVersion": DATABASE_MIGRATION.api_version,
        "kind": DATABASE_MIGRATION.kind,
        "metadata": {"name": f"shop-{next(NUMBERS)}"},
        "spec": minimal_spec(),
    }
    return await cluster.create(DATABASE_MIGRATION, "default", body)


async def write(cluster: Cluster, resource: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    name = resource["metadata"]["name"]
    body = {"apiVersion": resource["apiVersion"], "kind": resource["kind"], "metadata": {"name": name}}
    written = await cluster.apply_status(DATABASE_MIGRATION, "default", name, {**body, "status": status})
    found: dict[str, Any] = written["status"]
    return found


async def statuses_of_all_stories() -> list[dict[str, Any]]:
    """Return one status of each shape that the stories lead to: which parts it has, and which of them are empty."""
    found: dict[str, dict[str, Any]] = {}
    for story in (*STORIES.values(), *OTHERS):
        world = World()
        await story(world)
        for status in world.api.statuses:
            found.setdefault(repr(shape(status)), status)
    return list(found.values())


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return sorted({repr(shape(item)) for item in value})
    return None


def every_pair(count: int) -> Iterator[int]:
    """Yield numbers below ``count`` so that each one follows each other one."""
    for first in range(count):
        for second in range(first + 1, count):
            yield first
            yield second
    yield 0


async def test_each_status_is_accepted_before_and_after_each_other(cluster: Cluster, resource: dict[str, Any]) -> None:
    statuses = await statuses_of_all_stories()
    assert len(statuses) >= 15

    for number in every_pair(len(statuses)):
        written = await write(cluster, resource, statuses[number])
        assert written == statuses[number], "what was published before is gone, and nothing is lost"


@given(lives())
@settings(
    deadline=None,
    max_examples=40,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
async def test_whatever_a_container_prints_the_server_takes_the_status(
    cluster: Cluster, resource: dict[str, Any], statuses: list[dict[str, Any]]
) -> None:
    for status in statuses:
        assert await write(cluster, resource, status) == status


REFUSED = {
    "a field that the schema does not know": {"observedGeneration": 1, "gadget": "x"},
    "a value that it does not allow": {"observedGeneration": 1, "run": {"percent": 101}},
    "a type that it does not allow": {"observedGeneration": "one"},
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_the_server_does_not_take_is_told_from_an_outage(
    cluster: Cluster, resource: dict[str, Any], case: str
) -> None:
    with pytest.raises(Invalid):
        await write(cluster, resource, REFUSED[case])


async def test_a_map_that_has_become_empty_is_taken_too(cluster: Cluster, resource: dict[str, Any]) -> None:
    await write(cluster, resource, {"observedGeneration": 1, "revision": {"pending": 1}})

    found = await write(cluster, resource, {"observedGeneration": 1, "revision": {}})

    assert not found.get("revision"), "null: what an operator of an earlier release would write is no dead end"
