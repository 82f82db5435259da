"""A rollback with ``policy.downgrade: Allow``: what is published before the run that takes revisions back."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.port import DATABASE_MIGRATION, JOB

ALLOW = {"downgrade": "Allow"}
V1 = {"reached": ("b2",), "revisions": ("b1", "b2")}
V2 = {"reached": ("m4",), "revisions": ("b1", "b2", "m3", "m4")}
AHEAD = {**V2, "reason": "DatabaseAhead", "target": ("b2",), "message": "Ahead.", "ahead": ("m4", "m3")}
BACK = {**V1, "reason": "Downgraded", "target": ("b2",), "message": "Took back 2 revisions."}


def variables(job: Any) -> dict[str, str]:
    main = next(c for c in job["spec"]["template"]["spec"]["containers"] if c["name"] == "migrate")
    return {entry["name"]: entry.get("value", "") for entry in main["env"]}


@pytest.fixture
async def rolled_back(world: Any, migrated: Any) -> Any:
    """Make a database that shop:2 has migrated, and ask for shop:1 again; its first Job has just ended."""
    world.migration(policy=ALLOW)
    await world.succeed(migrated(**V1))
    world.edit(image="shop:2")
    await world.succeed(migrated(**V2))
    assert {entry["image"] for entry in world.status()["satisfied"]["images"]} == {"shop:1", "shop:2"}
    world.edit(image="shop:1")
    await world.settle()
    looking = world.job()
    pod = world.run(looking)
    world.pass_time(5)
    world.end(pod, migrated(**AHEAD))
    world.complete(looking)
    return world


async def test_what_will_be_gone_is_published_before_the_run_that_takes_it_back(rolled_back: Any) -> None:
    world, looking = rolled_back, rolled_back.job()
    assert variables(looking)["LOCKGATE_DOWNGRADE"] == "Deny"

    await world.reconcile()

    assert world.job() == looking
    assert (world.ready()["status"], world.ready()["reason"]) == ("False", "TakingBack")
    assert "2 revisions will be taken back" in world.ready()["message"]
    satisfied = world.status()["satisfied"]
    assert set(satisfied["revisions"]) == {"b1", "b2"}
    assert [entry["image"] for entry in satisfied["images"]] == ["shop:1"]

    await world.settle()
    assert variables(world.job())["LOCKGATE_DOWNGRADE"] == "Allow"
    assert world.job()["metadata"]["name"] != looking["metadata"]["name"]


async def test_pods_of_the_newer_release_are_held_and_those_of_the_older_one_start(rolled_back: Any) -> None:
    world = rolled_back
    await world.reconcile()

    world.app_pod("new", image="shop:2")
    world.app_pod("newer", labels={"lockgate.dev/revision": "m3"})
    world.app_pod("old", image="shop:1")
    world.app_pod("older", labels={"lockgate.dev/revision": "b1"})
    await world.settle()

    assert world.held() == ["new", "newer"]


async def test_it_is_ready_once_they_are_taken_back_and_starts_nothing_more(rolled_back: Any, migrated: Any) -> None:
    world = rolled_back
    await world.succeed(migrated(**BACK))

    assert (world.ready()["status"], world.ready()["reason"]) == ("True", "Downgraded")
    assert set(world.status()["satisfied"]["revisions"]) == {"b1", "b2"}
    jobs = len(world.api.all(JOB))
    world.pass_time(600)
    await world.settle()
    assert len(world.api.all(JOB)) == jobs
    assert [entry["reason"] for entry in world.status()["history"]][:2] == ["Downgraded", "TakingBack"]


async def test_the_next_rollback_looks_again_before_it_takes_anything_back(rolled_back: Any, migrated: Any) -> None:
    world = rolled_back
    await world.succeed(migrated(**BACK))
    world.edit(image="shop:2")
    await world.succeed(migrated(**V2))

    world.edit(image="shop:1")
    await world.settle()

    assert variables(world.job())["LOCKGATE_DOWNGRADE"] == "Deny"


async def test_an_operator_that_starts_in_between_goes_on(rolled_back: Any, migrated: Any) -> None:
    world = rolled_back
    await world.reconcile()
    world.restart_operator()

    await world.succeed(migrated(**BACK))

    assert world.ready()["reason"] == "Downgraded"


async def test_where_nobody_knows_what_will_be_gone_nothing_but_this_image_stays(world: Any, migrated: Any) -> None:
    world.migration(policy=ALLOW, image="shop:2")
    await world.succeed(migrated(**V2))
    world.edit(image="shop:1")
    await world.settle()
    job = world.job()
    pod = world.run(job)
    world.end(pod, migrated(**{**AHEAD, "ahead": (), "revisions": (), "truncated": True}))
    world.api.logs.clear()
    world.complete(job)

    await world.reconcile()

    satisfied = world.status()["satisfied"]
    assert satisfied["revisions"] == []
    assert [entry["image"] for entry in satisfied["images"]] == ["shop:1"]


async def test_without_the_policy_a_database_that_is_ahead_is_left_alone(world: Any, migrated: Any) -> None:
    world.migration(image="shop:2")
    await world.succeed(migrated(**V2))
    world.edit(image="shop:1")
    await world.succeed(migrated(**AHEAD))

    assert (world.ready()["status"], world.ready()["reason"]) == ("True", "DatabaseAhead")
    assert world.status()["satisfied"]["revisions"] == ["m4", "b1", "b2", "m3"]


async def test_nothing_is_taken_back_while_it_is_suspended(rolled_back: Any) -> None:
    world = rolled_back
    looking = world.job()
    world.api.find(DATABASE_MIGRATION, "shop")["spec"]["suspend"] = True

    await world.settle()

    assert world.job() == looking
    assert world.ready()["reason"] == "Suspended"


async def test_what_cannot_be_taken_back_is_a_matter_for_a_person(rolled_back: Any, migrated: Any) -> None:
    world = rolled_back
    await world.settle()
    job = world.job()
    pod = world.run(job)
    report = migrated(**{**V2, "outcome": "Failed", "reason": "Irreversible", "exit_code": 22, "message": "m4: no."})
    world.end(pod, report)
    world.fail(job, "PodFailurePolicy")

    await world.settle()

    assert (world.status()["phase"], world.ready()["reason"]) == ("Blocked", "Irreversible")
    assert world.condition("Stalled")["status"] == "True"
