"""Carries out what was decided. Each action is safe to repeat, and loses against whoever wrote in between."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from lockgate import reasons
from lockgate.decide.decision import Action, AddFinalizer, CreateJob, DeleteJob, ReleaseFinalizer
from lockgate.decide.gate import AppPod, opening_patch
from lockgate.decide.observation import Observation
from lockgate.decide.rules import WEBHOOK_DOWN
from lockgate.decide.views import job_view
from lockgate.decide.wording import one_line
from lockgate.errors import AlreadyExists, Forbidden, Invalid, Missing, Unavailable
from lockgate.job.manifests import build_job
from lockgate.job.pod_template import Injection
from lockgate.port import DATABASE_MIGRATION, JOB, MERGE_PATCH, POD, STRATEGIC_MERGE_PATCH, ClusterPort, Object
from lockgate.resource import FINALIZER

__all__ = ["after_write", "carry_out", "is_hindered", "open_gates"]

PATCHES_AT_ONCE = 10
PAUSES = (0.2, 0.8, 2.0)
"""Seconds between tries of a Job that is refused for the first time."""
OWN_PORT = re.compile(r"\S+->")
"""What Go puts before the far address of a broken connection: another port at each try."""


async def carry_out(
    cluster: ClusterPort,
    observation: Observation,
    action: Action,
    injection: Injection,
    sleep: Callable[[float], Awaitable[None]],
) -> Observation:
    """Do one thing; return the observation with what that has changed."""
    migration = observation.migration
    match action:
        case CreateJob():
            return await _create_job(cluster, observation, injection, sleep)
        case DeleteJob(name, uid, version):
            with suppress(Missing):
                await cluster.delete(JOB, migration.namespace, name, uid=uid, resource_version=version)
            return observation
        case AddFinalizer():
            return await _set_finalizers(cluster, observation, (*migration.finalizers, FINALIZER))
        case ReleaseFinalizer():
            rest = tuple(name for name in migration.finalizers if name != FINALIZER)
            return await _set_finalizers(cluster, observation, rest)


def is_hindered(observation: Observation) -> bool:
    """Say whether the Job that was to be created was refused, or its name is taken by somebody else's."""
    return bool(observation.refusal) or (observation.job is not None and not observation.job.owned)


def after_write(observation: Observation, body: Object, status: Mapping[str, Any]) -> Observation:
    """Return the observation with the version and finalizers that a write of ours has led to."""
    meta = body["metadata"]
    migration = replace(
        observation.migration,
        resource_version=meta.get("resourceVersion", ""),
        finalizers=tuple(meta.get("finalizers") or ()),
    )
    return replace(observation, migration=migration, status=status)


async def open_gates(cluster: ClusterPort, namespace: str, pods: Sequence[AppPod]) -> tuple[int, BaseException | None]:
    """Remove our gate from these pods, a few at a time; one that fails does not keep the others.

    Returns how many were opened, and the first problem. A pod that is gone is none.
    """
    slots = asyncio.Semaphore(PATCHES_AT_ONCE)

    async def open_one(pod: AppPod) -> None:
        async with slots:
            await cluster.patch(POD, namespace, pod.name, opening_patch(pod), content_type=STRATEGIC_MERGE_PATCH)

    results = await asyncio.gather(*(open_one(pod) for pod in pods), return_exceptions=True)
    problems = [result for result in results if result is not None]
    return len(results) - len(problems), next((p for p in problems if not isinstance(p, Missing)), None)


async def _create_job(
    cluster: ClusterPort,
    observation: Observation,
    injection: Injection,
    sleep: Callable[[float], Awaitable[None]],
) -> Observation:
    """Create the Job. Where that is refused, or the name is taken, return an observation that says so."""
    migration = observation.migration
    # What was refused a pass ago has had its time.
    pauses = () if observation.ready.get("reason") == reasons.JOB_REJECTED else PAUSES
    try:
        await _create_patiently(cluster, migration.namespace, build_job(migration, injection), pauses, sleep)
    except AlreadyExists:
        try:
            there = await cluster.get(JOB, migration.namespace, migration.job_name)
        except Missing:
            return observation  # the next pass creates it
        return replace(observation, jobs=(*observation.jobs, job_view(there, owner=migration.uid)))
    except (Invalid, Forbidden, Unavailable) as error:
        if isinstance(error, Unavailable) and WEBHOOK_DOWN not in error.message:
            raise
        said = OWN_PORT.sub("", error.message)  # a text that changed would be written, and the write wake us at once
        return replace(observation, refusal=one_line(f"The Job is refused: {said}", 600))
    return observation


async def _create_patiently(
    cluster: ClusterPort,
    namespace: str,
    job: Object,
    pauses: Sequence[float],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Create a Job, and ask again after each pause: the copy of the resource that our guard sees may be a bit older."""
    for pause in pauses:
        with suppress(Invalid, Forbidden):
            await cluster.create(JOB, namespace, job)
            return
        await sleep(pause)
    await cluster.create(JOB, namespace, job)


async def _set_finalizers(cluster: ClusterPort, observation: Observation, finalizers: tuple[str, ...]) -> Observation:
    migration = observation.migration
    metadata = {"finalizers": list(finalizers), "resourceVersion": migration.resource_version}
    try:
        body = await cluster.patch(
            DATABASE_MIGRATION, migration.namespace, migration.name, {"metadata": metadata}, content_type=MERGE_PATCH
        )
    except Missing:
        return observation
    return after_write(observation, body, observation.status)
