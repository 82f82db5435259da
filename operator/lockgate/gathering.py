"""Reads everything that one decision needs. The only file of the reconcile that reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import NamedTuple

from lockgate import reasons
from lockgate.decide.gate import MIGRATION
from lockgate.decide.observation import Observation, observe
from lockgate.decide.views import MIGRATE, RUN_OF, JobView, PodView, last_seen, pod_refusal
from lockgate.errors import ClusterError, Missing
from lockgate.port import EVENT, JOB, POD, ClusterPort, Object

__all__ = ["gather", "logs_wanted"]

PROGRESS_LINES = 20
REPORT_LINES = 5
LOG_LIMIT = 1024 * 1024
"""Bytes. A report of 5000 revisions is about 100 kB."""

log = logging.getLogger(__name__)


class LogWanted(NamedTuple):
    """The end of one container's log."""

    pod: str
    lines: int


async def gather(cluster: ClusterPort, body: Object) -> Observation:
    """Read what belongs to a resource: Jobs, their pods, the pods that name it, and ends of logs that tell more."""
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    runs = f"{RUN_OF}={name}"
    jobs, pods, app_pods = await asyncio.gather(
        cluster.list(JOB, namespace, label_selector=runs),
        cluster.list(POD, namespace, label_selector=runs),
        cluster.list(POD, namespace, label_selector=f"{MIGRATION}={name}"),
    )
    jobs += await _job_of_another(cluster, observe(body, jobs=jobs))
    seen = observe(body, jobs=jobs, migration_pods=pods, app_pods=app_pods)
    refused = {job.name: await _pod_refused(cluster, namespace, job) for job in _without_pod(seen)}
    wanted = logs_wanted(seen)
    if not wanted and not refused:
        return seen
    texts = await asyncio.gather(*(_log(cluster, namespace, want) for want in wanted))
    logs = {want.pod: text for want, text in zip(wanted, texts, strict=True)}
    return observe(body, jobs=jobs, migration_pods=pods, app_pods=app_pods, logs=logs, pod_refusals=refused)


def _without_pod(seen: Observation) -> list[JobView]:
    """Return the Jobs at work that have no pod now, though one is due."""
    return [job for job in seen.jobs if job.active and all(pod.ended for pod in seen.pods_of(job))]


async def _pod_refused(cluster: ClusterPort, namespace: str, job: JobView) -> str:
    """Return what the Job controller says about a pod that it could not create; nothing where it has created one since.

    Its words name what refuses the pod: a quota, an admission policy, a missing ServiceAccount.
    """
    try:
        events = await cluster.list(EVENT, namespace, field_selector=f"regarding.uid={job.uid}")
    except ClusterError as error:
        log.info("The events of Job %s/%s cannot be read: %s", namespace, job.name, error.message)
        return ""
    told = [event for event in events if event.get("reason") in ("FailedCreate", "SuccessfulCreate")]
    newest = max(told, key=lambda event: (last_seen(event), event["reason"] == "SuccessfulCreate"), default={})
    return pod_refusal(newest.get("note", "")) if newest.get("reason") == "FailedCreate" else ""


async def _job_of_another(cluster: ClusterPort, seen: Observation) -> list[Object]:
    """Look whether the Job that had the wanted name is still there; it need not carry our labels."""
    if seen.ready.get("reason") != reasons.JOB_NAME_TAKEN or seen.job is not None:
        return []
    try:
        return [await cluster.get(JOB, seen.migration.namespace, seen.migration.job_name)]
    except Missing:
        return []


def logs_wanted(observation: Observation) -> tuple[LogWanted, ...]:
    """Return the logs worth reading: of what runs, and of what ended and has not told all in its last message."""
    wanted: list[LogWanted] = []
    for job in observation.jobs:
        if job.active or not observation.is_recorded(job):
            wanted += _of_job(observation, observation.pods_of(job), newest_only=job.active)
    return tuple(wanted)


def _of_job(observation: Observation, pods: Iterable[PodView], *, newest_only: bool) -> list[LogWanted]:
    mains = [(pod.name, pod.migrate) for pod in pods if pod.migrate is not None]
    running = [LogWanted(name, PROGRESS_LINES) for name, main in mains if main.running]
    ended = [name for name, main in mains if main.terminated]
    unclear = [name for name in (ended[-1:] if newest_only else ended) if _unclear(observation, name)]
    return running + [LogWanted(name, REPORT_LINES) for name in unclear]


def _unclear(observation: Observation, pod: str) -> bool:
    report = observation.reports.get(pod)
    return report is None or report.truncated


async def _log(cluster: ClusterPort, namespace: str, want: LogWanted) -> str:
    """Read a log. Without it the status says less; that is no reason to fail."""
    try:
        return await cluster.pod_log(namespace, want.pod, MIGRATE, tail_lines=want.lines, limit_bytes=LOG_LIMIT)
    except ClusterError as error:
        log.info("The log of pod %s/%s cannot be read: %s", namespace, want.pod, error.message)
        return ""
