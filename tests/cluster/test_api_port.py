"""The parts that talk to the API server, against a real one: the port, events, the Lease, the watch."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from lockgate.api import cluster as cluster_module
from lockgate.api.cluster import DATABASE_MIGRATION, LEASE, POD, Cluster
from lockgate.api.connection import ApiServer
from lockgate.api.events import Events
from lockgate.errors import AlreadyExists, Conflict, Invalid, Missing
from lockgate.port import MERGE_PATCH, STRATEGIC_MERGE_PATCH
from lockgate.process.leader_election import LeaderElection, LeaseTimes
from lockgate.process.watch import Watch

Kubectl = Callable[..., subprocess.CompletedProcess[str]]

WAITS, RUNS = {"lockgate.dev/migration": "web"}, {"lockgate.dev/run-of": "run-shop"}
GATE, FOREIGN_GATE = "lockgate.dev/migration", "example.com/quota"


@pytest.fixture
async def server(kubeconfig: Path) -> AsyncIterator[ApiServer]:
    server = await ApiServer.connect(str(kubeconfig))
    yield server
    await server.close()


@pytest.fixture
async def cluster(server: ApiServer) -> Cluster:
    return Cluster(server)


def pod(name: str, gates: tuple[str, ...] = (FOREIGN_GATE,), labels: dict[str, str] | None = None) -> dict[str, Any]:
    """Return a pod that the `restricted` level accepts and that never starts."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {
            "schedulingGates": [{"name": gate} for gate in gates],
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "app",
                    "image": "registry.invalid/app:1",
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


async def test_objects_are_created_read_and_deleted(cluster: Cluster, namespace: str) -> None:
    created = await cluster.create(POD, namespace, pod("a"))
    assert (await cluster.get(POD, namespace, "a"))["metadata"]["uid"] == created["metadata"]["uid"]
    with pytest.raises(AlreadyExists, match=f"Cannot create pods {namespace}/a"):
        await cluster.create(POD, namespace, pod("a"))
    with pytest.raises(Conflict):
        await cluster.delete(POD, namespace, "a", uid="that-of-its-predecessor")
    await cluster.delete(POD, namespace, "a", uid=created["metadata"]["uid"])
    with pytest.raises(Missing, match=f"Cannot get pods {namespace}/a"):
        await cluster.get(POD, namespace, "a")


async def test_a_misspelt_field_is_refused_instead_of_dropped(cluster: Cluster, namespace: str) -> None:
    body = pod("a")
    body["spec"]["containers"][0]["resorces"] = {}
    with pytest.raises(Invalid, match="resorces"):
        await cluster.create(POD, namespace, body)


async def test_our_gate_is_removed_and_a_foreign_one_stays(cluster: Cluster, namespace: str) -> None:
    await cluster.create(POD, namespace, pod("a", (GATE, FOREIGN_GATE)))
    patch = {"spec": {"schedulingGates": [{"name": GATE, "$patch": "delete"}]}}
    patched = await cluster.patch(POD, namespace, "a", patch, content_type=STRATEGIC_MERGE_PATCH)
    assert patched["spec"]["schedulingGates"] == [{"name": FOREIGN_GATE}]


async def test_a_long_list_arrives_whole(cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "CHUNK", 3)
    for number in range(7):
        await cluster.create(POD, namespace, pod(f"p{number}", labels={"app": "shop" if number else "other"}))
    assert len(await cluster.list(POD, namespace)) == 7
    chosen = await cluster.list(POD, namespace, label_selector="app=shop")
    assert [item["metadata"]["name"] for item in chosen] == [f"p{number}" for number in range(1, 7)]
    assert {item["kind"] for item in chosen} == {"Pod"}


async def test_an_applied_status_belongs_to_lockgate_alone(cluster: Cluster, namespace: str) -> None:
    created = await cluster.create(POD, namespace, pod("a"))

    def condition(name: str, version: str | None = None) -> dict[str, Any]:
        metadata = {"name": "a"} | ({"resourceVersion": version} if version else {})
        status = {"conditions": [{"type": name, "status": "True"}]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}

    first = await cluster.apply_status(POD, namespace, "a", condition("lockgate.dev/one"))
    second = await cluster.apply_status(POD, namespace, "a", condition("lockgate.dev/two"))
    ours = [item["type"] for item in second["status"]["conditions"] if item["type"].startswith("lockgate.dev/")]
    assert ours == ["lockgate.dev/two"], "what is no longer applied is removed"
    assert first["metadata"]["uid"] == created["metadata"]["uid"]
    assert "lockgate" in {item["manager"] for item in second["metadata"]["managedFields"]}
    stale = condition("lockgate.dev/late", created["metadata"]["resourceVersion"])
    with pytest.raises(Conflict):
        await cluster.apply_status(POD, namespace, "a", stale)


async def test_a_patch_of_something_outdated_is_a_conflict(cluster: Cluster, namespace: str) -> None:
    created = await cluster.create(POD, namespace, pod("a"))
    version = created["metadata"]["resourceVersion"]
    await cluster.patch(POD, namespace, "a", {"metadata": {"labels": {"x": "1"}}}, content_type=MERGE_PATCH)
    stale = {"metadata": {"resourceVersion": version, "labels": {"x": "2"}}}
    with pytest.raises(Conflict):
        await cluster.patch(POD, namespace, "a", stale, content_type=MERGE_PATCH)


async def test_a_repeated_event_becomes_a_series(cluster: Cluster, namespace: str, kubectl: Kubectl) -> None:
    regarding = await cluster.create(POD, namespace, pod("a"))
    events = Events(cluster, instance="test")
    for _ in range(3):
        await events.emit(regarding, "Warning", "LockBusy", "Migrate", "the lock is held by pid 4711")
    listed = kubectl("events", "--namespace", namespace, "--for", "pod/a").stdout
    (line,) = [line for line in listed.splitlines() if "LockBusy" in line]
    assert "(x3 over" in line
    assert "the lock is held by pid 4711" in line


async def test_one_of_two_gets_the_lease_and_the_other_when_it_is_released(cluster: Cluster, namespace: str) -> None:
    def candidate(identity: str) -> LeaderElection:
        times = LeaseTimes(duration=60, deadline=30, retry=0.2)
        return LeaderElection(cluster, namespace=namespace, name="lease", identity=identity, times=times)

    a, b = candidate("a"), candidate("b")
    await asyncio.wait_for(a.acquire(), 10)
    hold, waiting = asyncio.create_task(a.hold()), asyncio.create_task(b.acquire())
    version = (await cluster.get(LEASE, namespace, "lease"))["metadata"]["resourceVersion"]
    while (lease := await cluster.get(LEASE, namespace, "lease"))["metadata"]["resourceVersion"] == version:
        await asyncio.sleep(0.05)
    assert lease["spec"]["holderIdentity"] == "a", "renewed"
    assert not waiting.done()
    hold.cancel()
    await asyncio.gather(hold, return_exceptions=True)
    await a.release()
    await asyncio.wait_for(waiting, 20)
    lease = await cluster.get(LEASE, namespace, "lease")
    assert lease["spec"]["holderIdentity"] == "b"
    assert lease["spec"]["leaseTransitions"] == 1


@pytest.fixture
async def watching(server: ApiServer, namespace: str) -> AsyncIterator[asyncio.Queue[tuple[str, str]]]:
    """Keys as they come out of a watch of one namespace."""
    loop, keys = asyncio.get_running_loop(), asyncio.Queue[tuple[str, str]]()
    watch = Watch(
        login=server.credentials,
        changed=lambda key: loop.call_soon_threadsafe(keys.put_nowait, key),
        namespaces=[namespace],
    )
    watch.start()
    yield keys
    assert watch.alive, "kopf must not give up"
    watch.stop()
    await asyncio.wait_for(watch.ended(), 20)


async def noticed(keys: asyncio.Queue[tuple[str, str]], namespace: str, *names: str) -> None:
    """Wait until each of these has come out, in whatever order."""
    missing = {(namespace, name) for name in names}
    async with asyncio.timeout(20):
        while missing:
            missing.discard(await keys.get())


def suspended_migration(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "lockgate.dev/v1alpha1",
        "kind": "DatabaseMigration",
        "metadata": {"name": name},
        "spec": {
            "image": "registry.invalid/shop:1",
            "suspend": True,
            "database": {"urlFrom": {"secretKeyRef": {"name": "none", "key": "url"}}},
        },
    }


async def test_every_change_that_concerns_a_migration_is_noticed_and_no_other(
    cluster: Cluster, namespace: str, watching: asyncio.Queue[tuple[str, str]], kubectl: Kubectl
) -> None:
    await cluster.create(DATABASE_MIGRATION, namespace, suspended_migration("shop"))
    await noticed(watching, namespace, "shop")

    await cluster.create(POD, namespace, pod("stranger"))
    waiting = await cluster.create(POD, namespace, pod("app", labels=WAITS))
    await noticed(watching, namespace, "web")
    await cluster.create(POD, namespace, pod("run", labels=RUNS))
    await noticed(watching, namespace, "run-shop")

    await cluster.delete(POD, namespace, "app", uid=waiting["metadata"]["uid"])
    await noticed(watching, namespace, "web")
    kubectl("delete", "databasemigration", "shop", "--namespace", namespace)
    await noticed(watching, namespace, "shop")
    while not watching.empty():
        assert watching.get_nowait()[1] in ("shop", "web", "run-shop")


async def test_watching_leaves_no_trace_on_what_is_watched(
    cluster: Cluster, namespace: str, watching: asyncio.Queue[tuple[str, str]], kubectl: Kubectl
) -> None:
    await cluster.create(DATABASE_MIGRATION, namespace, suspended_migration("shop"))
    await cluster.create(POD, namespace, pod("app", labels=WAITS))
    await cluster.create(POD, namespace, pod("run", labels=RUNS))
    await noticed(watching, namespace, "shop", "web", "run-shop")
    # a change and its notice, so that whatever the watch does with the objects above it has done
    await cluster.create(POD, namespace, pod("last", labels={"lockgate.dev/migration": "last"}))
    await noticed(watching, namespace, "last")

    everything = kubectl(
        "get", "dbm,pods,events", "--namespace", namespace, "--output", "json", "--show-managed-fields"
    )
    items = json.loads(everything.stdout)["items"]
    assert {"shop", "app", "run"} <= {item["metadata"]["name"] for item in items}
    assert "kopf" not in everything.stdout, "its annotations, finalizers, events and field managers all carry its name"
    assert not [item for item in items if item["metadata"].get("finalizers")]
