"""A container that an injector has added to the pod: how the run ends although the pod does not."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.port import DATABASE_MIGRATION, JOB
from lockgate.report import Report


def ended(world: Any) -> dict[str, str]:
    return {"finishedAt": world.now.strftime("%Y-%m-%dT%H:%M:%SZ")}


async def outlive(world: Any, report: Report | None, **end: Any) -> Any:
    """Start a run, let its container end and one beside it go on; return the Job."""
    world.migration(retry={"limit": 3})
    world.app_pod("app-1")
    await world.settle()
    job = world.job()
    pod = world.run(job)
    world.inject(pod)
    await world.settle()
    world.end(pod, report, **ended(world), **end)
    pod["status"]["phase"] = "Running"
    return job


async def test_the_run_is_a_success_at_once_and_the_container_is_named(world: Any, migrated: Any) -> None:
    await outlive(world, migrated())

    world.pass_time(1)
    await world.reconcile()

    assert (world.ready()["status"], world.ready()["reason"]) == ("True", "Migrated")
    assert world.held() == []
    assert "Container istio-proxy, which is not of the Job, keeps pod" in world.ready()["message"]
    assert "spec.template.metadata" in world.ready()["message"]
    assert "run" not in world.status()
    assert not world.api.find(DATABASE_MIGRATION, "shop")["metadata"]["finalizers"]
    assert world.told.runs == [("Succeeded", "Migrated")]


async def test_the_rest_of_the_pod_is_ended_unless_it_ends_by_itself_in_a_moment(world: Any, migrated: Any) -> None:
    job = await outlive(world, migrated())
    world.pass_time(1)
    assert 0 < await world.reconcile() <= 15
    assert world.api.all(JOB) == [job]

    world.pass_time(15)
    await world.settle()

    assert world.api.all(JOB) == []
    assert world.ready()["status"] == "True"
    assert [entry["outcome"] for entry in world.status()["history"]] == ["Succeeded"]


async def test_a_job_that_ends_by_itself_in_that_moment_is_left_alone(world: Any, migrated: Any) -> None:
    job = await outlive(world, migrated())
    await world.reconcile()
    world.complete(job)

    world.pass_time(60)
    await world.settle()

    assert world.api.all(JOB) == [job]
    assert len(world.status()["history"]) == 1


async def test_a_container_that_fails_beside_a_success_starts_no_other_attempt(world: Any, migrated: Any) -> None:
    world.migration()
    await world.settle()
    job = world.job()
    pod = world.run(job)
    world.inject(pod)
    world.end(pod, migrated(), **ended(world))
    pod["status"]["containerStatuses"][1]["state"] = {"terminated": {"exitCode": 1}}
    pod["status"]["phase"] = "Failed"
    job["status"] = {"failed": 1}

    await world.settle()

    assert (world.ready()["status"], world.ready()["reason"]) == ("True", "Migrated")
    assert "Container istio-proxy, which is not of the Job, has failed" in world.ready()["message"]
    assert world.api.all(JOB) == []


async def test_a_failure_for_good_is_told_and_its_log_stays_for_a_while(world: Any) -> None:
    report = Report("Failed", "MigrationFailed", "Revision 9f2c failed.", exit_code=20)
    job = await outlive(world, report)

    world.pass_time(15)
    await world.settle()
    assert (world.status()["phase"], world.ready()["reason"]) == ("Failed", "MigrationFailed")
    assert "istio-proxy" in world.ready()["message"]
    assert world.api.all(JOB) == [job]

    world.pass_time(600)
    await world.settle()
    assert world.api.all(JOB) == []
    assert world.ready()["reason"] == "MigrationFailed"


async def test_a_failure_that_may_pass_leaves_the_job_a_moment_to_try_again(world: Any) -> None:
    report = Report("Failed", "DatabaseUnreachable", "No answer.", exit_code=11, retryable=True)
    await outlive(world, report)
    await world.reconcile()
    assert world.status()["history"] == []

    world.pass_time(15)
    await world.settle()

    assert world.ready()["reason"] == "DatabaseUnreachable"
    assert "istio-proxy" in world.ready()["message"]
    assert world.condition("Stalled")["status"] == "True"


async def test_the_next_run_does_not_wait_for_such_a_pod(world: Any, migrated: Any) -> None:
    job = await outlive(world, Report("Failed", "MigrationFailed", "Revision 9f2c failed.", exit_code=20))
    world.pass_time(15)
    await world.settle()

    world.edit(image="shop:2")
    await world.settle()

    assert world.job()["metadata"]["name"] != job["metadata"]["name"]
    assert job not in world.api.all(JOB)
    await world.succeed(migrated())
    assert world.ready()["status"] == "True"


async def test_a_pod_that_works_beside_it_keeps_the_run_going(world: Any) -> None:
    world.migration(lock={"standbys": 1})
    await world.settle()
    job = world.job()
    first, _ = world.run(job), world.run(job)
    world.inject(first)
    world.end(first, Report("Failed", "DatabaseBusy", "Busy.", exit_code=12, retryable=True), **ended(world))
    first["status"]["phase"] = "Running"

    world.pass_time(60)
    await world.settle()

    assert world.status()["phase"] == "Running"
    assert world.status()["history"] == []


@pytest.mark.parametrize("seen", [True, False])
async def test_a_success_counts_also_where_the_job_ran_out_of_time_over_the_rest(
    world: Any, migrated: Any, seen: bool
) -> None:
    job = await outlive(world, migrated())
    if seen:
        await world.reconcile()
    world.fail(job, "DeadlineExceeded")

    await world.settle()

    assert world.ready()["status"] == "True"
    assert [entry["outcome"] for entry in world.status()["history"]] == ["Succeeded"]


async def test_a_native_sidecar_is_no_such_container(world: Any, migrated: Any) -> None:
    world.migration()
    await world.settle()
    pod = world.run(world.job())
    world.end(pod, migrated(), **ended(world))
    pod["status"]["initContainerStatuses"] = [{"name": "proxy", "restartCount": 0, "state": {"running": {}}}]
    pod["status"]["phase"] = "Running"

    world.pass_time(60)
    await world.settle()

    assert world.ready()["reason"] == "Verifying"
    assert len(world.api.all(JOB)) == 1
