"""A run that failed: which reason and words, when it is tried again, and that no run is lost or repeated."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate import errors
from lockgate.port import JOB, POD
from lockgate.report import CheckResult, Failure, Progress, Report


def failed(reason: str = "MigrationFailed", exit_code: int = 20, **fields: Any) -> Report:
    known = {"message": "Revision 9f2c failed: relation exists.", "retryable": exit_code < 20}
    return Report(outcome="Failed", reason=reason, exit_code=exit_code, **{**known, **fields})


def leaves(kind: type[errors.LockgateError]) -> list[type[errors.LockgateError]]:
    return [leaf for below in kind.__subclasses__() for leaf in (below, *leaves(below))]


async def fail_with(world: Any, report: Report | None, job_reason: str = "PodFailurePolicy", **end: Any) -> Any:
    world.migration()
    await world.settle()
    job = world.job()
    pod = world.run(job)
    await world.settle()
    world.end(pod, report, **end)
    world.fail(job, job_reason)
    await world.settle()
    return job


async def test_a_failed_revision_is_named_with_its_statement_and_sqlstate(world: Any) -> None:
    world.app_pod("app-1")
    failure = Failure(
        revision="9f2c", statement="ALTER TABLE orders\n  ADD COLUMN x int", sqlstate="42701", error="exists"
    )

    await fail_with(world, failed(message="The migration failed.", failure=failure))

    ready = world.ready()
    assert (world.status()["phase"], ready["reason"]) == ("Failed", "MigrationFailed")
    assert "Revision 9f2c." in ready["message"]
    assert "SQLSTATE 42701." in ready["message"]
    assert "ALTER TABLE orders ADD COLUMN x int" in ready["message"]
    assert "annotation lockgate.dev/retry" in ready["message"]
    assert "\n" not in ready["message"]
    assert world.condition("Stalled")["status"] == "True"
    assert world.condition("Reconciling")["status"] == "False"
    assert world.status()["satisfied"]["images"] == []
    assert world.held() == ["app-1"]
    assert world.told.runs == [("Failed", "MigrationFailed")]
    assert [event[:2] for event in world.told.events].count(("Warning", "MigrationFailed")) == 1


async def test_a_failed_run_is_not_repeated_even_when_its_job_is_gone(world: Any) -> None:
    job = await fail_with(world, failed())

    world.api.mark_deleted(JOB, job)
    world.restart_operator()
    await world.settle()

    assert world.ready()["reason"] == "MigrationFailed"
    assert world.api.all(JOB) == []


async def test_the_retry_annotation_asks_for_another_try(world: Any) -> None:
    await fail_with(world, failed())

    world.annotate(**{"lockgate.dev/retry": "1"})
    await world.succeed()

    assert world.ready()["status"] == "True"
    assert [entry["outcome"] for entry in world.status()["history"]] == ["Succeeded", "Failed"]
    assert world.condition("Stalled")["status"] == "False"


async def test_a_failed_health_check_keeps_the_gate_closed_and_says_that_the_revisions_are_applied(world: Any) -> None:
    world.app_pod("app-1")
    check = CheckResult("orders", passed=False, message="0 rows")

    await fail_with(
        world, failed("CheckFailed", 23, message="Check orders: 0 rows.", checks=(check,), reached=("d41",))
    )

    assert world.condition("Migrated")["status"] == "True"
    assert world.condition("Healthy")["status"] == "False"
    assert "Check orders" in world.condition("Healthy")["message"]
    assert world.ready()["status"] == "False"
    assert world.held() == ["app-1"]


ENDS = [leaf for leaf in leaves(errors.LockgateError) if issubclass(leaf, errors.Permanent) and leaf.exit_code > 1]
PHASES = {20: "Failed", 21: "Failed", 22: "Blocked", 23: "Failed"}
"""By the exit code of a run that no retry helps: a refusal waits for a decision, anything else for a correction."""


@pytest.mark.parametrize("error", ENDS, ids=lambda error: error.__name__)
async def test_the_phase_of_a_run_that_failed_for_good_follows_from_its_exit_code(world: Any, error: Any) -> None:
    await fail_with(world, failed(error.__name__, error.exit_code, message="It says why."))

    assert (world.status()["phase"], world.ready()["reason"]) == (PHASES[error.exit_code], error.__name__)
    assert world.condition("Stalled")["status"] == "True"
    assert world.condition("Migrated")["status"] == str(error.exit_code == 23)


WITHOUT_REPORT = {
    "the image has no such Python": (
        {
            "exit_code": 128,
            "reason": "StartError",
            "message": "failed to create containerd task: runc create failed: unable to start container process: exec: "
            '"python3": executable file not found in $PATH: unknown',
        },
        "PythonNotFound",
        'no such Python: exec: "python3": executable file not found in $PATH. Set spec.alembic.python',
    ),
    "a shell finds no Python": (
        {"exit_code": 127, "message": "hunter2: not found"},
        "PythonNotFound",
        "has no such Python. Set spec.alembic.python",
    ),
    "the Python is of another architecture": (
        {"exit_code": 128, "reason": "StartError", "message": "exec format error"},
        "ContainerCannotStart",
        "exec format error",
    ),
    "the memory is not enough": (
        {"exit_code": 137, "reason": "OOMKilled"},
        "OutOfMemory",
        "Raise resources.limits.memory",
    ),
    "the runner itself cannot be imported": (
        {
            "exit_code": 1,
            "message": "Traceback (most recent call last):\n  File x\nModuleNotFoundError: No module named 'zlib'",
        },
        "PodFailed",
        "ModuleNotFoundError: No module named 'zlib'",
    ),
    "the application printed a secret": (
        {"exit_code": 1, "message": "Traceback (most recent call last):\nValueError: postgresql://u:hunter2@db/x"},
        "PodFailed",
        "exit code 1 and left no report",
    ),
}


@pytest.mark.parametrize("case", WITHOUT_REPORT)
async def test_a_pod_that_left_no_report_is_explained_by_how_it_ended(world: Any, case: str) -> None:
    end, reason, words = WITHOUT_REPORT[case]

    await fail_with(world, None, **end)

    assert world.ready()["reason"] == reason
    assert words in world.ready()["message"]
    assert "Traceback" not in str(world.status())
    assert "hunter2" not in str(world.status()) + str(world.told.events)


async def test_between_two_attempts_the_last_one_is_told_of(world: Any) -> None:
    world.migration()
    await world.settle()
    job = world.job()
    world.end(world.run(job), failed("DatabaseUnreachable", 11, message="The database does not answer."))
    job["status"] = {"failed": 1}
    await world.settle()

    assert world.ready()["reason"] == "Retrying"
    message = "Attempt 2 of 7 starts soon. The last one ended: DatabaseUnreachable: The database does not answer."
    assert world.ready()["message"] == message
    assert world.condition("Stalled")["status"] == "False"
    assert world.status()["history"] == []

    world.run(job)
    await world.settle()
    assert world.ready()["message"].startswith("Attempt 2 of 7: ")
    assert world.status()["run"]["attempt"] == 2


async def test_giving_up_keeps_the_last_attempts_reason(world: Any) -> None:
    report = failed("DatabaseUnreachable", 11, message="The database does not answer.")

    job = await fail_with(world, report, "BackoffLimitExceeded")

    assert job["status"]["failed"] == 1
    assert world.ready()["reason"] == "DatabaseUnreachable"
    assert world.ready()["message"].startswith("Gave up after 1 attempt. The database does not answer.")
    assert "lockgate.dev/retry" in world.ready()["message"]
    assert world.condition("Stalled")["status"] == "True"


async def test_a_run_that_took_too_long_says_which_limit_to_raise(world: Any) -> None:
    await fail_with(world, failed("Interrupted", 30, message="SIGTERM."), "DeadlineExceeded")

    assert world.ready()["reason"] == "RunTimeout"
    assert "Raise spec.timeouts.run" in world.ready()["message"]

    world.edit(timeouts={"run": "2h"})
    await world.succeed()
    assert world.ready()["status"] == "True"


async def test_a_report_too_long_for_the_termination_message_is_read_from_the_log(world: Any, migrated: Any) -> None:
    world.migration()
    many = tuple(f"{n:012x}" for n in range(1000))

    await world.succeed(migrated(revisions=many))

    assert world.status()["satisfied"]["revisions"] == ["d41", *many]


async def test_a_success_whose_report_is_gone_satisfies_the_image_and_says_so(world: Any) -> None:
    world.migration()
    world.app_pod("by-image")
    world.app_pod("by-revision", labels={"lockgate.dev/revision": "d41"})
    await world.settle()
    job = world.job()
    pod = world.run(job)
    world.api.mark_deleted(POD, pod)

    world.complete(job)
    await world.settle()

    assert world.ready()["status"] == "True"
    assert world.ready()["reason"] == "ReportMissing"
    assert "could not be read" in world.ready()["message"]
    assert world.held() == ["by-revision"]


async def test_a_container_that_ends_well_without_a_report_opens_no_gate(world: Any) -> None:
    world.migration()
    world.app_pod("app-1")
    await world.settle()
    job = world.job()
    world.end(world.run(job), exit_code=0)  # as with spec.alembic.python: /bin/true

    world.complete(job)
    await world.settle()

    assert (world.ready()["status"], world.ready()["reason"]) == ("False", "RunnerDidNotRun")
    assert "spec.alembic.python" in world.ready()["message"]
    assert world.condition("Stalled")["status"] == "True"
    assert world.held() == ["app-1"]


async def test_a_job_that_somebody_deleted_is_recorded_and_run_again(world: Any) -> None:
    world.migration()
    await world.settle()
    first = world.job()
    world.run(first)
    await world.settle()

    world.api.mark_deleted(JOB, first)
    await world.settle()

    assert [entry["outcome"] for entry in world.status()["history"]] == ["Interrupted"]
    assert world.status()["history"][0]["reason"] == "JobVanished"
    await world.succeed()
    assert [entry["outcome"] for entry in world.status()["history"]] == ["Succeeded", "Interrupted"]


async def test_between_the_end_of_the_container_and_that_of_the_job_no_retry_is_announced(
    world: Any, migrated: Any
) -> None:
    world.migration()
    await world.settle()
    job = world.job()
    pod = world.run(job, Progress(current=("c3f",), target=("d41",), pending=1, step="1/1 d41"))
    await world.settle()

    for phase in ("Running", "Succeeded"):
        world.end(pod, migrated())
        pod["status"]["phase"] = phase
        await world.settle()
        assert (world.status()["phase"], world.ready()["reason"]) == ("Verifying", "Verifying")
        assert world.status()["revision"]["targetSummary"] == "d41"
    world.complete(job)
    await world.settle()
    assert world.ready()["status"] == "True"


async def test_a_failure_that_no_retry_helps_announces_none_while_the_job_ends(world: Any) -> None:
    world.migration()
    await world.settle()
    world.end(world.run(world.job()), failed())

    await world.settle()

    assert world.ready()["reason"] == "Running"
    assert "failed and ends: MigrationFailed: Revision 9f2c failed" in world.ready()["message"]


async def test_an_init_container_that_fails_is_named_and_not_tried_for_ever(world: Any) -> None:
    world.migration(retry={"limit": 0})
    await world.settle()
    job = world.job()
    pod = world.pod_of(job)
    await world.settle()
    assert world.status()["run"]["attempt"] == 0

    world.set_state(pod, phase="Failed", waiting={"reason": "PodInitializing"})
    prep = {"name": "prep", "restartCount": 0, "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}
    pod["status"]["initContainerStatuses"] = [prep]
    world.fail(job, "BackoffLimitExceeded")
    await world.settle()

    assert world.ready()["reason"] == "InitContainerFailed"
    assert "The init container prep of pod" in world.ready()["message"]
    assert world.condition("Stalled")["status"] == "True"
    assert [entry["outcome"] for entry in world.status()["history"]] == ["Failed"]
    assert world.api.all(JOB) == [job]


async def test_a_success_of_which_only_the_short_report_is_left_says_what_is_missing(world: Any, migrated: Any) -> None:
    world.migration()
    await world.settle()
    pod = world.run(world.job())
    world.end(pod, migrated(revisions=tuple(f"{n:012x}" for n in range(1000))))
    world.api.logs.clear()
    world.complete(world.job())

    await world.settle()

    assert world.ready()["status"] == "True"
    assert "list of its revisions could not be read" in world.ready()["message"]
    assert world.status()["satisfied"]["revisions"] == ["d41"]
