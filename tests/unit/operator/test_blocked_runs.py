"""A run whose pod cannot start: which reason, which words, and that it recovers by itself."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.errors import Forbidden, Invalid, Unavailable
from lockgate.port import DATABASE_MIGRATION, JOB, POD
from lockgate.resource import parse

WAITING = {
    "a Secret is missing": (
        {"reason": "CreateContainerConfigError", "message": 'secret "shop-db" not found'},
        "SecretNotFound",
        'secret "shop-db" not found',
    ),
    "a key of the Secret is missing": (
        {"reason": "CreateContainerConfigError", "message": "couldn't find key url in Secret default/shop-db"},
        "SecretKeyNotFound",
        "couldn't find key url in Secret default/shop-db",
    ),
    "a ConfigMap is missing": (
        {"reason": "CreateContainerConfigError", "message": 'configmap "settings" not found'},
        "ConfigMapNotFound",
        'configmap "settings" not found',
    ),
    "the image runs as root": (
        {"reason": "CreateContainerConfigError", "message": "container has runAsNonRoot and image will run as root"},
        "ContainerCannotStart",
        "image will run as root",
    ),
    "the image is not there": (
        {"reason": "ErrImagePull", "message": "failed to resolve reference: shop:1: not found"},
        "ImageNotAvailable",
        "not found. Push the image",
    ),
    "the image is still not there": (
        {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "shop:1": ErrImagePull: not found'},
        "ImageNotAvailable",
        "the image of container migrate: not found.",
    ),
    "the image may not be pulled": (
        {"reason": "ErrImageNeverPull", "message": ""},
        "ImageNotAvailable",
        "ErrImageNeverPull",
    ),
    "the image's name is no name": (
        {"reason": "InvalidImageName", "message": 'Failed to apply default image tag "Shop": couldn\'t parse'},
        "ImageNotAvailable",
        "couldn't parse",
    ),
}


@pytest.mark.parametrize("case", WAITING)
async def test_a_pod_that_cannot_start_is_reported_with_what_to_do(world: Any, case: str) -> None:
    waiting, reason, words = WAITING[case]
    world.migration()
    await world.settle()
    world.pod_of(world.job(), waiting=waiting)

    await world.settle()

    assert world.status()["phase"] == "Blocked"
    assert world.ready()["reason"] == reason
    assert words in world.ready()["message"]
    assert world.condition("Reconciling")["status"] == "True"
    assert world.condition("Stalled")["status"] == "False"
    assert world.status()["run"]["attempt"] == 0


async def test_a_run_goes_on_by_itself_when_the_secret_appears(world: Any, migrated: Any) -> None:
    world.migration()
    await world.settle()
    pod = world.pod_of(world.job(), waiting={"reason": "CreateContainerConfigError", "message": 'secret "s" not found'})
    await world.settle()

    world.set_state(pod, running={"startedAt": "2026-11-21T08:00:00Z"})
    await world.settle()
    assert world.status()["phase"] == "Running"
    world.end(pod, migrated())
    world.complete(world.job())
    await world.settle()

    assert world.ready()["status"] == "True"


async def test_a_job_that_ran_out_of_time_before_its_pod_started_is_made_anew(world: Any) -> None:
    world.migration()
    await world.settle()
    job = world.job()
    pod = world.pod_of(job, waiting={"reason": "CreateContainerConfigError", "message": 'secret "s" not found'})
    await world.settle()

    world.api.mark_deleted(POD, pod)
    world.fail(job, "DeadlineExceeded")
    await world.reconcile()
    assert world.ready()["reason"] == "SecretNotFound"
    await world.settle()

    assert world.job()["metadata"]["uid"] != job["metadata"]["uid"]
    assert world.status()["history"] == []
    await world.succeed()
    assert world.ready()["status"] == "True"


async def test_a_job_that_ran_out_of_time_is_made_anew_also_where_its_removal_fails_at_first(world: Any) -> None:
    world.migration()
    await world.settle()
    pod = world.pod_of(world.job(), waiting={"reason": "CreateContainerConfigError", "message": 'secret "s" not found'})
    await world.settle()

    world.api.mark_deleted(POD, pod)
    world.fail(world.job(), "DeadlineExceeded")
    world.api.refuse["delete", JOB.plural] = Unavailable("no answer")
    for _ in range(2):
        world.pass_time(3)
        with pytest.raises(Unavailable):
            await world.reconcile()
    del world.api.refuse["delete", JOB.plural]
    await world.settle()

    assert world.status()["history"] == []
    assert world.status().get("run", {}).get("attempt", 0) == 0
    await world.succeed()
    assert world.ready()["status"] == "True"
    assert "run" not in world.status()


async def test_a_pod_that_no_node_takes_is_reported_with_the_schedulers_words(world: Any) -> None:
    world.migration()
    await world.settle()
    pod = world.pod_of(world.job())
    words = "0/3 nodes are available: 3 Insufficient memory."
    pod["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}],
    }

    await world.settle()

    assert world.ready()["reason"] == "PodUnschedulable"
    assert words in world.ready()["message"]


async def test_a_job_that_gets_no_pod_says_where_to_look(world: Any) -> None:
    world.migration()
    await world.settle()
    assert world.ready()["reason"] == "Starting"

    world.pass_time(30)
    await world.settle()

    assert world.ready()["reason"] == "PodNotCreated"
    assert f"kubectl describe job {world.job()['metadata']['name']} -n default" in world.ready()["message"]


async def test_a_pod_that_starts_slowly_says_where_to_look(world: Any) -> None:
    world.migration()
    await world.settle()
    world.pod_of(world.job(), waiting={"reason": "ContainerCreating"})
    await world.settle()
    assert world.ready()["reason"] == "Starting"

    world.pass_time(150)
    await world.settle()

    assert world.ready()["reason"] == "PodNotStarted"
    assert "kubectl describe pod" in world.ready()["message"]


@pytest.mark.parametrize("refusal", [Invalid("spec.template.spec.foo: unknown"), Forbidden("exceeded quota: jobs")])
async def test_a_job_that_the_api_server_refuses_is_reported_once_and_tried_again(world: Any, refusal: Any) -> None:
    world.migration()
    world.api.refuse["create", JOB.plural] = refusal
    await world.settle()

    assert world.ready()["reason"] == "JobRejected"
    assert refusal.message in world.ready()["message"]
    assert world.condition("Stalled")["status"] == "True"
    tries = world.api.calls.count("create jobs")
    status, events = world.status(), len(world.told.events)
    world.pass_time(60)
    await world.reconcile()
    assert world.api.calls.count("create jobs") == tries + 1
    assert (world.status(), len(world.told.events)) == (status, events)

    del world.api.refuse["create", JOB.plural]
    await world.succeed()

    assert world.ready()["status"] == "True"
    assert world.api.find(JOB, world.job()["metadata"]["name"])


async def test_a_job_that_is_refused_for_a_moment_is_created_in_the_same_pass(world: Any) -> None:
    """The API server's own copy of the resource, which the guard looks at, may be a moment older than ours."""
    world.migration()
    world.api.refuse["create", JOB.plural] = Forbidden("the Job's image is not the one of its DatabaseMigration")
    sleep = world.sleep

    async def catch_up(seconds: float) -> None:
        await sleep(seconds)
        world.api.refuse.clear()

    world.sleep = catch_up
    world.restart_operator()
    await world.reconcile()
    await world.reconcile()

    assert world.job()
    assert world.ready()["reason"] == "Starting"
    assert world.condition("Stalled")["status"] == "False"


async def test_a_webhook_that_is_down_is_named_and_needs_nobody_once_it_is_back(world: Any) -> None:
    world.migration()
    words = 'failed calling webhook "policy.example.com": read udp {}10.96.0.10:53: i/o timeout.'
    world.api.refuse["create", JOB.plural] = Unavailable(words.format("10.244.0.1:44321->"))
    await world.settle()

    assert world.status()["phase"] == "Blocked"
    assert words.format("") in world.ready()["message"]
    writes = len(world.api.writes)
    world.api.refuse["create", JOB.plural] = Unavailable(words.format("10.244.0.1:50107->"))
    await world.reconcile()
    assert len(world.api.writes) == writes
    assert (world.condition("Stalled")["status"], world.condition("Reconciling")["status"]) == ("False", "True")
    assert 0 < await world.reconcile() <= 15

    del world.api.refuse["create", JOB.plural]
    await world.succeed()
    assert world.ready()["status"] == "True"


async def test_a_resource_whose_job_is_refused_can_be_deleted(world: Any) -> None:
    body = world.migration()
    world.api.refuse["create", JOB.plural] = Invalid("no")
    await world.settle()
    world.api.mark_deleted(DATABASE_MIGRATION, body)
    await world.settle()

    assert world.api.all(DATABASE_MIGRATION) == []


async def test_a_job_of_another_owner_under_the_wanted_name_is_reported(world: Any) -> None:
    world.migration()
    name = f"shop-{wanted_run(world)}"
    world.api.put(JOB, {"metadata": {"name": name}, "spec": {}, "status": {"conditions": [ended()]}})

    await world.settle()

    assert world.ready()["reason"] == "JobNameTaken"
    assert name in world.ready()["message"]

    world.api.mark_deleted(JOB, world.api.find(JOB, name))
    await world.succeed()
    assert world.ready()["status"] == "True"


def wanted_run(world: Any) -> str:
    return parse(world.api.find(DATABASE_MIGRATION, "shop")).run_id


def ended() -> dict[str, str]:
    return {"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-21T08:00:00Z"}
