"""A migration pod that is deleted, drained or evicted: what is said of it, and that what has started is remembered."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.port import JOB
from lockgate.report import Progress, Report

INTERRUPTED = Report(
    "Interrupted", "Interrupted", "The process was asked to end (SIGTERM).", exit_code=30, retryable=True
)


async def at_work(world: Any, **spec: Any) -> tuple[Any, Any]:
    world.migration(**spec)
    await world.settle()
    job = world.job()
    pod = world.run(job, Progress(step="1/2 d41"))
    await world.settle()
    assert world.status()["run"]["attempt"] == 1
    return job, pod


async def test_a_pod_that_is_drained_is_told_of_while_it_ends_and_when_it_is_gone(world: Any) -> None:
    _, pod = await at_work(world)

    world.disrupt(pod, "Eviction API: evicting")
    await world.settle()
    assert world.status()["phase"] == "Running"
    assert "was ended by the cluster: Eviction API: evicting." in world.ready()["message"]

    world.end(pod, INTERRUPTED)
    pod["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True", "message": "Eviction API: evicting"}]
    await world.settle()
    said = "Attempt 2 of 7 starts soon. The last one ended: Interrupted: The process was asked to end (SIGTERM). Pod"
    assert world.ready()["reason"] == "Retrying"
    assert world.ready()["message"].startswith(said)
    assert "Eviction API: evicting." in world.ready()["message"]

    world.vanish(pod)
    world.pass_time(60)
    await world.settle()
    assert world.ready()["reason"] == "Retrying"
    assert world.ready()["message"].startswith(said)
    assert world.status()["run"]["attempt"] == 1
    assert not [event for event in world.told.events if event[1] == "PodNotCreated"]


async def test_a_pod_that_vanished_unseen_is_named(world: Any) -> None:
    _, pod = await at_work(world)
    world.vanish(pod)
    world.pass_time(60)

    await world.settle()

    name = pod["metadata"]["name"]
    said = f"Attempt 2 of 7 starts soon. Pod {name} was deleted, and what it had not committed is rolled back."
    assert (world.ready()["reason"], world.ready()["message"]) == ("Retrying", said)
    assert world.status()["run"]["pod"] == name


async def test_the_pod_that_follows_is_the_next_attempt_and_counted_once(world: Any) -> None:
    job, first = await at_work(world)
    world.vanish(first)
    await world.settle()

    world.pod_of(job, "another", running={"startedAt": "2026-11-21T08:00:00Z"})
    await world.settle()
    world.restart_operator()
    await world.settle()

    assert world.status()["run"]["attempt"] == 2
    assert world.status()["run"]["pod"] == "another"
    assert world.ready()["message"].startswith("Attempt 2 of 7: ")


async def test_attempts_that_the_limit_does_not_count_are_counted_all_the_same(world: Any) -> None:
    job, pod = await at_work(world, retry={"limit": 0})
    for number in (2, 3):
        world.vanish(pod)
        await world.settle()
        pod = world.pod_of(job, f"pod-{number}", running={"startedAt": "2026-11-21T08:00:00Z"})
        await world.settle()
        assert world.status()["run"]["attempt"] == number
        assert world.ready()["message"].startswith(f"Attempt {number}: ")


async def test_a_new_spec_removes_no_job_that_has_worked(world: Any, migrated: Any) -> None:
    job, pod = await at_work(world)
    world.vanish(pod)
    await world.settle()

    world.edit(image="shop:2")
    await world.settle()

    assert world.api.all(JOB) == [job]
    assert world.ready()["reason"] == "WaitingForOlderRun"
    world.end(world.run(job), migrated())
    world.complete(job)
    await world.settle()
    assert [entry["image"] for entry in world.status()["history"]] == ["shop:1"]


async def test_a_job_made_anew_under_the_same_name_has_not_worked(world: Any) -> None:
    job, pod = await at_work(world)
    world.vanish(pod)
    del world.api.objects[JOB.plural, "default", job["metadata"]["name"]]
    await world.settle()
    world.pass_time(1)

    world.edit(image="shop:2")
    await world.settle()

    assert world.ready()["reason"] == "Starting"
    assert world.job()["metadata"]["annotations"]["lockgate.dev/image"] == "shop:2"


ENDS = {
    "its own deadline": (
        {"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the specified deadline"},
        "RunTimeout",
        "was ended by its own activeDeadlineSeconds: leave that out of spec.template.spec",
    ),
    "an eviction by its node": (
        {"reason": "Evicted", "message": "The node was low on resource: memory."},
        "RetriesExhausted",
        "was ended by its node: Evicted: The node was low on resource: memory.",
    ),
    "a shutdown of its node": (
        {"reason": "Terminated", "message": "Pod was terminated in response to imminent node shutdown."},
        "RetriesExhausted",
        "was ended by its node: Terminated: Pod was terminated in response to imminent node shutdown.",
    ),
}


@pytest.mark.parametrize("case", ENDS)
async def test_a_pod_that_was_killed_from_outside_is_explained_by_that(world: Any, case: str) -> None:
    words, reason, said = ENDS[case]
    job, pod = await at_work(world)
    world.end(pod, exit_code=137)
    pod["status"].update(words)

    world.fail(job, "BackoffLimitExceeded")
    await world.settle()

    assert world.ready()["reason"] == reason
    assert said in world.ready()["message"]
    assert "exit code 137" not in world.ready()["message"]


async def test_a_job_without_a_pod_quotes_the_job_controller(world: Any) -> None:
    world.migration()
    await world.settle()
    job = world.job()
    words = 'error looking up service account default/shop: serviceaccount "shop" not found'
    for suffix in ("abcde", "fghij"):
        world.says(job, "FailedCreate", f'Error creating: pods "shop-1c0ffee123-{suffix}" is forbidden: {words}')
        await world.settle()

    assert (world.status()["phase"], world.ready()["reason"]) == ("Blocked", "PodNotCreated")
    assert f"gets no pod: the pod is forbidden: {words}." in world.ready()["message"]
    assert "quota" not in world.ready()["message"]
    assert len([event for event in world.told.events if event[1] == "PodNotCreated"]) == 1


async def test_a_refusal_that_is_over_is_not_quoted(world: Any) -> None:
    world.migration()
    await world.settle()
    job = world.job()
    world.says(job, "FailedCreate", 'Error creating: pods "shop-x" is forbidden: exceeded quota')
    await world.settle()
    world.says(job, "SuccessfulCreate", "Created pod: shop-x")
    pod = world.run(job)
    await world.settle()
    assert world.ready()["reason"] == "Running"
    world.vanish(pod)

    await world.settle()

    assert world.ready()["reason"] == "Retrying"


async def test_a_refusal_between_two_attempts_says_which_one_waits(world: Any) -> None:
    job, pod = await at_work(world)
    world.vanish(pod)
    await world.settle()
    world.says(job, "FailedCreate", 'Error creating: pods "shop-x" is forbidden: exceeded quota: pods')

    await world.settle()

    assert world.ready()["reason"] == "PodNotCreated"
    assert "gets no pod for attempt 2 of 7: the pod is forbidden: exceeded quota: pods." in world.ready()["message"]
