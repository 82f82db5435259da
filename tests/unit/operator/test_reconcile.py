"""Whole stories, told through the API server alone."""

from __future__ import annotations

from typing import Any

from lockgate.port import DATABASE_MIGRATION, JOB
from lockgate.report import Progress


async def test_a_new_resource_becomes_ready_and_its_pods_start(world: Any, migrated: Any) -> None:
    world.migration()
    world.app_pod("app-1")

    await world.reconcile()
    assert world.ready()["status"] == "False"
    assert world.status()["phase"] == "Pending"
    job = world.job()
    pod = world.run(job, Progress(current=("c3f",), target=("d41",), pending=1, step="1/1 d41 add orders"))
    world.pass_time(3)
    await world.reconcile()
    assert world.status()["phase"] == "Running"
    assert world.status()["run"]["step"] == "1/1 d41 add orders"
    assert world.status()["revision"]["pending"] == 1
    assert world.held() == ["app-1"]

    world.pass_time(9)
    world.end(pod, migrated(current=("c3f",)))
    world.complete(job)
    await world.settle()

    assert world.ready() | {"lastTransitionTime": ""} == {
        "type": "Ready",
        "status": "True",
        "observedGeneration": 1,
        "lastTransitionTime": "",
        "reason": "Migrated",
        "message": "Applied 1 revision.",
    }
    assert world.held() == []
    assert world.status()["satisfied"]["images"] == [{"image": "shop:1", "revision": "d41"}]
    assert world.status()["satisfied"]["revisions"] == ["d41", "c3f"]
    assert world.status()["history"][0] | {"startedAt": ""} == {
        "id": job["metadata"]["labels"]["lockgate.dev/run"],
        "image": "shop:1",
        "from": "c3f",
        "to": "d41",
        "outcome": "Succeeded",
        "reason": "Migrated",
        "message": "Applied 1 revision.",
        "startedAt": "",
        "seconds": 12,
    }
    assert "run" not in world.status()
    assert world.api.find(DATABASE_MIGRATION, "shop")["metadata"]["finalizers"] == []
    assert world.told.runs == [("Succeeded", "Migrated")]
    assert world.told.gates == 1


async def test_reconciling_again_changes_nothing(world: Any) -> None:
    world.migration()
    await world.succeed()
    writes, status = len(world.api.writes), world.status()

    for _ in range(3):
        world.pass_time(400)
        assert await world.reconcile() is None

    assert (len(world.api.writes), world.status()) == (writes, status)


async def test_a_job_that_its_ttl_removed_is_not_run_again(world: Any) -> None:
    world.migration()
    job = await world.succeed()
    world.api.mark_deleted(JOB, job)

    world.restart_operator()
    await world.settle()

    assert world.ready()["status"] == "True"
    assert world.api.all(JOB) == []
