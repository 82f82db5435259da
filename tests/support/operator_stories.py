"""For every reason of the operator a story that leads to it: what happens to a resource, its Job and its pods."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from operator_world import World, migrated

from lockgate.errors import Invalid, LockgateError, Permanent
from lockgate.port import DATABASE_MIGRATION, JOB, POD
from lockgate.report import Progress, Report
from lockgate.resource import parse

Story = Callable[[World], Awaitable[object]]

PAGE = Path(__file__).resolve().parents[2] / "docs/reasons.md"
UNREACHABLE = Report("Failed", "DatabaseUnreachable", "No answer.", exit_code=11, retryable=True)


def documented() -> set[str]:
    """Return the reasons in the first columns of the page's tables."""
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return {reason for row in rows for reason in re.findall(r"\b[A-Z][a-z]+[A-Z]?\w*", row)}


def leaves(kind: type[LockgateError]) -> list[type[LockgateError]]:
    """Return every error below this one."""
    return [leaf for below in kind.__subclasses__() for leaf in (below, *leaves(below))]


async def run(world: World, progress: Progress | None = None) -> None:
    world.migration()
    await world.settle()
    world.run(world.job(), progress)
    await world.settle()


def waits(reason: str, message: str = "") -> Story:
    async def story(world: World) -> None:
        world.migration()
        await world.settle()
        world.pod_of(world.job(), waiting={"reason": reason, "message": message})
        await world.settle()

    return story


def reports(report: Report, job: str = "PodFailurePolicy") -> Story:
    """Let the pod end with this report, and the Job with it."""

    async def story(world: World) -> None:
        await run(world, Progress(current=("c3f",), target=("d41",), pending=1, step="1/1 d41 add orders"))
        ended = world.api.all(POD)[-1]
        world.end(ended, report)
        await world.settle()
        if report.exit_code:
            world.fail(world.job(), job)
        else:
            world.complete(world.job())
        await world.settle()

    return story


def ends(job: str = "BackoffLimitExceeded", **state: object) -> Story:
    """Let the pod end without a report."""

    async def story(world: World) -> None:
        await run(world)
        world.end(world.api.all(POD)[-1], None, **state)
        if state.get("exit_code"):
            world.fail(world.job(), job)
        else:
            world.complete(world.job())
        await world.settle()

    return story


def fails(error: type[LockgateError]) -> Story:
    """Let the runner end with this error."""
    if issubclass(error, Permanent):
        return reports(Report("Failed", error.__name__, "It says why.", exit_code=error.exit_code))
    report = Report("Failed", error.__name__, "It says why.", exit_code=error.exit_code, retryable=True)
    return reports(report, "BackoffLimitExceeded")


async def report_is_gone(world: World) -> None:
    await run(world)
    world.vanish(world.api.all(POD)[-1])
    world.complete(world.job())
    await world.settle()


async def is_taken_back(world: World) -> None:
    world.migration(image="shop:2", policy={"downgrade": "Allow"})
    await world.succeed(migrated(reached=("m4",), revisions=("b2", "m4")))
    world.edit(image="shop:1")
    ahead = {"target": ("b2",), "ahead": ("m4",), "message": "Ahead."}
    await world.succeed(migrated(reason="DatabaseAhead", reached=("m4",), revisions=("b2", "m4"), **ahead))
    await world.succeed(migrated(reason="Downgraded", reached=("b2",), revisions=("b2",), message="Took back 1."))


async def an_attempt_fails(world: World) -> None:
    await run(world)
    world.end(world.api.all(POD)[-1], UNREACHABLE)
    world.job()["status"] = {"failed": 1}
    await world.settle()


async def an_older_run_works(world: World) -> None:
    await run(world, Progress(step="1/2 d41"))
    world.edit(image="shop:2")
    await world.settle()


async def is_deleted(world: World) -> None:
    await run(world)
    world.api.mark_deleted(DATABASE_MIGRATION, world.api.find(DATABASE_MIGRATION, "shop"))
    await world.settle()


async def is_suspended(world: World) -> None:
    world.migration(suspend=True)
    await world.settle()


async def no_node_takes_it(world: World) -> None:
    world.migration()
    await world.settle()
    pod = world.pod_of(world.job())
    placed = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    pod["status"] = {"phase": "Pending", "conditions": [placed]}
    await world.settle()


async def no_pod_is_created(world: World) -> None:
    world.migration()
    await world.settle()
    world.says(world.job(), "FailedCreate", 'Error creating: pods "shop-x" is forbidden: exceeded quota')
    await world.settle()


async def the_pod_does_not_start(world: World) -> None:
    await waits("ContainerCreating")(world)
    world.pass_time(150)
    await world.settle()


async def the_job_is_refused(world: World) -> None:
    world.migration()
    world.api.refuse["create", JOB.plural] = Invalid("spec.template.spec.foo: unknown")
    await world.settle()


async def the_name_is_taken(world: World) -> None:
    body = world.migration()
    done = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-21T08:00:00Z"}
    taken = {"metadata": {"name": parse(body).job_name}, "spec": {}, "status": {"conditions": [done]}}
    world.api.put(JOB, taken)
    await world.settle()


async def no_status_is_taken(world: World) -> None:
    world.migration()
    await world.succeed()
    world.edit(image="shop:2")
    schema = world.api.schema
    world.api.schema = {**schema, "properties": {k: v for k, v in schema["properties"].items() if k != "gate"}}
    del world.status()["gate"]
    await world.settle()


async def an_init_container_fails(world: World) -> None:
    world.migration()
    await world.settle()
    pod = world.pod_of(world.job(), phase="Failed", waiting={"reason": "PodInitializing"})
    prep = {"name": "prep", "restartCount": 0, "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}
    pod["status"]["initContainerStatuses"] = [prep]
    world.fail(world.job(), "BackoffLimitExceeded")
    await world.settle()


async def somebody_deletes_the_job(world: World) -> None:
    await run(world)
    world.api.mark_deleted(JOB, world.job())
    await world.settle()


async def another_database_is_named(world: World) -> None:
    world.migration()
    await world.succeed()
    world.edit(database={"urlFrom": {"secretKeyRef": {"name": "other", "key": "url"}}})
    await world.settle()


async def held_pods_start(world: World) -> None:
    world.migration()
    world.app_pod("app-1")
    await world.succeed()


async def a_pod_slips_through(world: World) -> None:
    world.migration()
    world.app_pod("app-1", held=False)
    await world.settle()


async def a_pod_wants_another_image(world: World) -> None:
    world.migration()
    await world.succeed()
    world.app_pod("app-1", image="mirror/shop:1")
    world.pass_time(10)
    await world.settle()


POD_MISSES = "CreateContainerConfigError"
STORIES: dict[str, Story] = {
    "Migrated": reports(migrated()),
    "NothingToDo": reports(migrated(reason="NothingToDo", message="Nothing to do.")),
    "Downgraded": is_taken_back,
    "TakingBack": is_taken_back,
    "ReportMissing": report_is_gone,
    "Starting": waits("ContainerCreating"),
    "Running": run,
    "Waiting": lambda world: run(world, Progress(step="1/1 d41", waiting_for="lock held by pid 1")),
    "Verifying": lambda world: run(world, Progress(step="1/1 d41", verifying=True)),
    "Retrying": an_attempt_fails,
    "WaitingForOlderRun": an_older_run_works,
    "Deleting": is_deleted,
    "Suspended": is_suspended,
    "SecretNotFound": waits(POD_MISSES, 'secret "shop-db" not found'),
    "SecretKeyNotFound": waits(POD_MISSES, "couldn't find key url in Secret default/shop-db"),
    "ConfigMapNotFound": waits(POD_MISSES, 'configmap "settings" not found'),
    "ConfigMapKeyNotFound": waits(POD_MISSES, "couldn't find key mode in ConfigMap default/settings"),
    "ImageNotAvailable": waits("ErrImagePull", "not found"),
    "PodUnschedulable": no_node_takes_it,
    "PodNotCreated": no_pod_is_created,
    "PodNotStarted": the_pod_does_not_start,
    "ContainerCannotStart": waits("CreateContainerError", "no such device"),
    "JobRejected": the_job_is_refused,
    "JobNameTaken": the_name_is_taken,
    "StatusRefused": no_status_is_taken,
    "PythonNotFound": ends("PodFailurePolicy", exit_code=127),
    "RunnerDidNotRun": ends(exit_code=0),
    "OutOfMemory": ends(exit_code=137, reason="OOMKilled"),
    "RetriesExhausted": ends(exit_code=1),
    "PodFailed": ends("PodFailurePolicy", exit_code=1),
    "InitContainerFailed": an_init_container_fails,
    "JobVanished": somebody_deletes_the_job,
    "GateOpened": held_pods_start,
    "UnguardedPods": a_pod_slips_through,
    "PodHeld": a_pod_wants_another_image,
    **{error.__name__: fails(error) for error in leaves(LockgateError) if error.exit_code >= 10},
}
"""By reason."""

OTHERS: tuple[Story, ...] = (
    another_database_is_named,
    reports(migrated(reason="DatabaseAhead", ahead=("e52",), message="The database is ahead.")),
    reports(UNREACHABLE, "DeadlineExceeded"),
)
"""Stories whose statuses differ in what is there, and not in the reason."""


def reasons_told(world: World) -> set[str]:
    """Return every reason that a condition or an event of this world has carried."""
    conditions = {c["reason"] for status in world.api.statuses for c in status["conditions"]}
    history = {entry["reason"] for status in world.api.statuses for entry in status["history"]}
    return conditions | history | {reason for _, reason, _ in (*world.told.events, *world.told.pod_events)}
