"""What an edit, a rollback, a suspension or a deletion does, above all while a Job is at work."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.errors import Conflict
from lockgate.port import DATABASE_MIGRATION, JOB, POD
from lockgate.report import Progress

NOT_PULLED = {"reason": "ErrImagePull", "message": "not found"}


async def test_an_edit_makes_ready_false_at_once_and_keeps_the_old_revision(world: Any) -> None:
    world.migration()
    await world.succeed()

    world.edit(image="shop:2")
    await world.reconcile()

    assert world.status()["observedGeneration"] == 2
    assert (world.ready()["status"], world.ready()["observedGeneration"]) == ("False", 2)
    assert world.status()["revision"] == {"current": ["d41"], "summary": "d41"}
    assert world.job()["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:2"


async def test_a_pod_of_the_older_release_starts_while_the_new_one_migrates(world: Any) -> None:
    world.migration()
    await world.succeed()
    world.edit(image="shop:2")
    await world.settle()

    world.app_pod("old", image="shop:1")
    world.app_pod("new", image="shop:2")
    await world.settle()

    assert world.held() == ["new"]


async def test_a_run_of_an_older_spec_is_waited_for_and_recorded(world: Any, migrated: Any) -> None:
    world.migration()
    world.app_pod("old", image="shop:1")
    await world.settle()
    first = world.job()
    pod = world.run(first)

    world.edit(image="shop:2")
    await world.settle()
    assert world.ready()["reason"] == "WaitingForOlderRun"
    assert first["metadata"]["name"] in world.ready()["message"]
    assert world.status()["run"]["job"] == first["metadata"]["name"]
    assert len(world.api.all(JOB)) == 1

    world.end(pod, migrated())
    world.complete(first)
    await world.settle()
    assert world.held() == []
    assert world.ready()["status"] == "False"
    second = world.job()
    assert second["metadata"]["uid"] != first["metadata"]["uid"]

    await world.succeed()
    assert [entry["image"] for entry in world.status()["history"]] == ["shop:2", "shop:1"]


async def test_a_job_of_an_older_spec_that_never_started_is_removed(world: Any) -> None:
    world.migration()
    await world.settle()
    first = world.job()
    world.pod_of(first, waiting=NOT_PULLED)
    await world.settle()
    assert world.ready()["reason"] == "ImageNotAvailable"

    world.edit(image="shop:2")
    await world.succeed()

    assert world.ready()["status"] == "True"
    assert [job["metadata"]["name"] for job in world.api.all(JOB)] == [world.job()["metadata"]["name"]]
    assert [entry["image"] for entry in world.status()["history"]] == ["shop:2"]


async def test_a_job_that_starts_just_before_it_would_be_removed_is_left_alone(world: Any) -> None:
    world.migration()
    await world.settle()
    first = world.job()
    pod = world.pod_of(first, waiting=NOT_PULLED)
    await world.settle()
    world.edit(image="shop:2")
    real = world.api.delete

    async def delete(*args: Any, **more: Any) -> None:
        world.api.changed(first)
        await real(*args, **more)

    world.api.delete = delete
    with pytest.raises(Conflict):
        await world.reconcile()
    world.set_state(pod, running={})
    await world.settle()

    assert world.api.find(JOB, first["metadata"]["name"])
    assert world.ready()["reason"] == "WaitingForOlderRun"


async def test_a_rollback_runs_again_because_the_database_has_moved_on(world: Any) -> None:
    world.migration()
    first = await world.succeed()
    world.edit(image="shop:2")
    await world.succeed()

    world.edit(image="shop:1")
    await world.settle()
    assert world.ready()["status"] == "False"
    await world.succeed()

    assert world.ready()["status"] == "True"
    assert world.job()["metadata"]["name"] == first["metadata"]["name"]
    assert world.job()["metadata"]["uid"] != first["metadata"]["uid"]
    assert [entry["image"] for entry in world.status()["history"]] == ["shop:1", "shop:2", "shop:1"]


async def test_returning_from_an_image_that_never_ran_needs_no_run(world: Any) -> None:
    world.migration()
    await world.succeed()
    world.edit(image="shop:bad")
    await world.settle()
    world.pod_of(world.job(), waiting=NOT_PULLED)
    await world.settle()

    world.edit(image="shop:1")
    await world.settle()

    assert world.ready()["status"] == "True"
    assert len(world.status()["history"]) == 1


async def test_another_database_forgets_what_the_old_one_contained(world: Any) -> None:
    world.migration()
    await world.succeed()

    world.edit(database={"urlFrom": {"secretKeyRef": {"name": "other", "key": "url"}}})
    world.app_pod("app-1")
    await world.settle()

    assert world.status()["satisfied"]["images"] == []
    assert "revision" not in world.status()
    assert world.held() == ["app-1"]


async def test_a_database_that_is_changed_back_before_anything_ran_is_recorded_again(world: Any) -> None:
    body = world.migration()
    await world.succeed()
    first = body["spec"]["database"]
    world.edit(database={"urlFrom": {"secretKeyRef": {"name": "misspelt", "key": "url"}}})
    await world.settle()
    world.pod_of(world.job(), waiting=NOT_PULLED)
    await world.settle()

    world.edit(database=first)
    world.app_pod("app-1")
    await world.settle()
    assert (world.ready()["status"], world.held()) == ("False", ["app-1"])
    await world.succeed()

    assert world.ready()["status"] == "True"
    assert world.held() == []


async def test_a_run_in_the_old_database_satisfies_nothing_in_the_new_one(world: Any, migrated: Any) -> None:
    world.migration()
    await world.settle()
    first = world.job()
    pod = world.run(first)
    world.edit(database={"urlFrom": {"secretKeyRef": {"name": "other", "key": "url"}}})
    world.app_pod("app-1")
    await world.settle()

    world.end(pod, migrated())
    world.complete(first)
    await world.settle()

    assert world.status()["history"][0]["outcome"] == "Succeeded"
    assert world.status()["satisfied"]["images"] == []
    assert world.held() == ["app-1"]


async def test_suspending_starts_nothing_and_resuming_does(world: Any) -> None:
    world.migration(suspend=True)
    await world.settle()

    assert world.status()["phase"] == "Suspended"
    assert world.ready()["reason"] == "Suspended"
    assert [world.condition(kind)["status"] for kind in ("Ready", "Reconciling", "Stalled")] == ["False"] * 3
    assert world.api.all(JOB) == []

    world.edit(suspend=False)
    await world.succeed()
    assert world.ready()["status"] == "True"


async def test_suspending_leaves_a_run_at_work_alone(world: Any, migrated: Any) -> None:
    world.migration()
    await world.settle()
    job = world.job()
    pod = world.run(job)

    world.edit(suspend=True)
    await world.settle()
    assert world.status()["phase"] == "Running"
    assert "spec.suspend" in world.ready()["message"]
    world.end(pod, migrated())
    world.complete(job)
    await world.settle()

    assert world.ready() | {"lastTransitionTime": ""} == world.ready() | {
        "lastTransitionTime": "",
        "status": "True",
        "observedGeneration": 2,
    }
    assert len(world.api.all(JOB)) == 1


async def test_deleting_the_resource_waits_for_the_job_and_opens_what_it_has_earned(world: Any, migrated: Any) -> None:
    body = world.migration()
    world.app_pod("app-1")
    await world.settle()
    job = world.job()
    pod = world.run(job)
    await world.settle()

    world.api.mark_deleted(DATABASE_MIGRATION, body)
    await world.settle()
    assert world.ready()["reason"] == "Deleting"
    assert job["metadata"]["name"] in world.ready()["message"]
    assert world.api.all(JOB)
    world.end(pod, migrated())
    world.complete(job)
    await world.settle()

    assert world.api.all(DATABASE_MIGRATION) == []
    assert world.api.all(JOB) == []
    assert world.held() == []
    assert "default/shop" not in world.told.state


async def test_deleting_a_resource_whose_pod_cannot_start_does_not_wait(world: Any) -> None:
    body = world.migration()
    await world.settle()
    world.pod_of(world.job(), waiting=NOT_PULLED)
    await world.settle()

    world.api.mark_deleted(DATABASE_MIGRATION, body)
    await world.settle()

    assert world.api.all(DATABASE_MIGRATION) == []


async def test_a_new_resource_of_an_old_name_waits_for_the_old_ones_job(world: Any) -> None:
    world.migration()
    await world.settle()
    old = world.job()
    pod = world.run(old)
    world.api.objects.pop(("databasemigrations", "default", "shop"))  # kubectl delete --cascade=orphan

    world.migration()
    await world.settle()
    assert world.ready()["reason"] == "WaitingForOlderRun"

    world.api.mark_deleted(POD, pod)
    world.api.mark_deleted(JOB, old)
    await world.succeed()
    assert world.ready()["status"] == "True"


async def test_a_change_that_changes_no_run_keeps_ready_true_for_the_new_generation(world: Any) -> None:
    world.migration()
    await world.succeed()
    since = world.ready()["lastTransitionTime"]

    world.edit(historyLimit=3, retry={"limit": 1}, lock={"standbys": 2})
    await world.settle()

    assert (world.ready()["status"], world.ready()["observedGeneration"]) == ("True", 2)
    assert world.ready()["lastTransitionTime"] == since
    assert world.status()["observedGeneration"] == 2


async def test_the_history_keeps_as_many_runs_as_asked_for(world: Any) -> None:
    world.migration(historyLimit=2)
    for number in (1, 2, 3, 4):
        world.edit(image=f"shop:{number}")
        await world.succeed()

    assert [entry["image"] for entry in world.status()["history"]] == ["shop:4", "shop:3"]


async def test_progress_is_written_at_most_every_two_seconds(world: Any) -> None:
    world.migration()
    await world.settle()
    pod = world.run(world.job(), Progress(step="1/9 a"))
    world.pass_time(3)
    await world.reconcile()
    writes = len(world.api.writes)

    for step in range(2, 6):
        world.progress(pod, Progress(step=f"{step}/9 a"))
        world.pass_time(0.3)
        assert 0 < await world.reconcile() <= 2
    assert len(world.api.writes) == writes

    world.pass_time(1)
    await world.reconcile()
    assert world.status()["run"]["step"] == "5/9 a"


async def test_progress_is_written_also_after_the_clock_was_set_back(world: Any) -> None:
    world.migration()
    await world.settle()
    pod = world.run(world.job(), Progress(step="1/9 a"))
    await world.settle()

    world.progress(pod, Progress(step="2/9 b"))
    world.pass_time(-3600)
    await world.reconcile()

    assert world.status()["run"]["step"] == "2/9 b"


async def test_figures_that_move_right_after_a_write_are_not_forgotten(world: Any) -> None:
    world.migration()
    await world.succeed()
    world.app_pod("a", held=False)
    world.pass_time(3)
    await world.reconcile()
    world.app_pod("b", held=False)

    again = await world.reconcile()
    assert world.status()["gate"]["opened"] == 1
    world.pass_time(again)
    assert await world.reconcile() is None

    assert world.status()["gate"]["opened"] == 2
