"""Everything one reconcile has seen, as frozen values. What is absent is None or empty, never an error.

dicts from the API server ──▶ views.py ──▶ observe() ──▶ Observation ──▶ plan, gate, status
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from lockgate import reasons
from lockgate.decide.gate import AppPod, app_pod
from lockgate.decide.views import JobView, PodView, job_view, pod_view, timestamp
from lockgate.report import Progress, Report, fold, read_report
from lockgate.resource import Migration, parse, taking_back

__all__ = ["OUTLIVED", "Observation", "observe"]

OUTLIVED = timedelta(seconds=15)
"""How long a container may outlive the one that migrates before it counts as what keeps the pod from ending."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One resource and all that belongs to it."""

    migration: Migration
    status: Mapping[str, Any]
    """As published by the pass before; the only memory there is."""
    jobs: tuple[JobView, ...]
    """Every Job that carries the label ``lockgate.dev/run-of`` of this resource, oldest first."""
    pods: tuple[PodView, ...]
    """The pods of those Jobs, oldest first."""
    app_pods: tuple[AppPod, ...]
    reports: Mapping[str, Report]
    """By pod name."""
    progress: Mapping[str, Progress]
    """By pod name."""
    refusal: str = ""
    """What the API server said when it refused to create the Job in this very pass."""
    pod_refusals: Mapping[str, str] = field(default_factory=dict)
    """By Job name, what the Job controller said when it could not create the pod that is due."""

    @property
    def job(self) -> JobView | None:
        """The Job of the wanted run, whoever owns it."""
        return next((job for job in self.jobs if job.name == self.migration.job_name), None)

    @property
    def ready(self) -> Mapping[str, Any]:
        """The published condition Ready, or nothing."""
        conditions = self.status.get("conditions") or ()
        return next((condition for condition in conditions if condition.get("type") == "Ready"), {})

    @property
    def last_recorded(self) -> Mapping[str, Any]:
        """The newest entry of the published history, or nothing."""
        return next(iter(self.status.get("history") or ()), {})

    @property
    def last_recorded_start(self) -> datetime | None:
        """When the newest recorded run's Job was created. Runs are serial, so this orders them all."""
        return timestamp(self.last_recorded.get("startedAt"))

    def pods_of(self, job: JobView) -> tuple[PodView, ...]:
        """Return the pods of one Job, oldest first."""
        return tuple(pod for pod in self.pods if pod.job == job.name and pod.run_id == job.run_id)

    def is_recorded(self, job: JobView) -> bool:
        """Say whether the history already tells how this Job ended, or tells of a run that came after it."""
        last = self.last_recorded_start
        return last is not None and job.created <= last

    def has_started(self, job: JobView) -> bool:
        """Say whether a container that migrates has ever started in this Job, as far as anybody can know.

        The pods say so while they exist. Where they are gone, only the published status can testify that nothing
        had started; without its testimony, something may have.
        """
        attempt = self.published_run(job).get("attempt")
        if any(pod.has_started for pod in self.pods_of(job)) or job.succeeded or attempt:
            return True
        return job.failed > 0 and attempt is None

    def published_run(self, job: JobView) -> Mapping[str, Any]:
        """Return the published ``status.run``, if it speaks of this Job and not of an earlier one of its name."""
        run = self.status.get("run") or {}
        started = timestamp(run.get("startedAt"))
        return run if run.get("job") == job.name and started in (None, job.created) else {}

    def is_over(self, job: JobView, now: datetime) -> bool:
        """Say whether the run has ended although its Job has not: containers that were added keep it from ending."""
        return job.active and self.last_container(job, now) is not None

    def outlived_for(self, job: JobView, now: datetime) -> timedelta:
        """Return how long ago the run of a Job ended whose pod has not."""
        pod = self.last_container(job, now)
        ended = pod.migrate.ended if pod and pod.migrate else None
        return now - ended if ended else timedelta.max if pod else timedelta()

    def last_container(self, job: JobView, now: datetime) -> PodView | None:
        """Return the pod whose container that migrates has ended the run, where another one outlives it or fails it.

        One that succeeded ends the run at once. One that failed does so a moment later, so that a container which ends
        by itself lets the Job try again; never while another pod works, or while the pod is being deleted.
        """
        kept = [pod for pod in self.pods_of(job) if pod.kept_by]
        good = next((pod for pod in self.pods_of(job) if pod.exit_code == 0 and (pod.kept_by or pod.failed_by)), None)
        if good is not None or not kept:
            return good
        if any(pod.deleting or not (pod.ended or pod.kept_by) for pod in self.pods_of(job)):
            return None
        ended = kept[-1].migrate.ended if kept[-1].migrate else None
        return kept[-1] if ended is None or now - ended >= OUTLIVED else None

    def ended_unstarted(self, job: JobView) -> bool:
        """Say whether a Job ran out of time before a container that migrates could start: nothing has run."""
        return job.failure == "DeadlineExceeded" and not self.has_started(job)


def observe(
    body: Mapping[str, Any],
    *,
    jobs: Iterable[Mapping[str, Any]] = (),
    migration_pods: Iterable[Mapping[str, Any]] = (),
    app_pods: Iterable[Mapping[str, Any]] = (),
    logs: Mapping[str, str] | None = None,
    refusal: str = "",
    pod_refusals: Mapping[str, str] | None = None,
) -> Observation:
    """Turn what the API server sent into an Observation; ``logs`` holds ends of logs by pod name."""
    migration, logs = _turn(parse(body), body.get("status") or {}), logs or {}
    pods = sorted((pod_view(pod) for pod in migration_pods), key=lambda pod: (pod.created, pod.name))
    views = (job_view(job, owner=migration.uid) for job in jobs)
    folded = {name: fold(text.splitlines()) for name, text in logs.items()}
    return Observation(
        migration=migration,
        status=body.get("status") or {},
        jobs=tuple(sorted(views, key=lambda job: (job.created, job.name))),
        pods=tuple(pods),
        app_pods=tuple(app_pod(pod) for pod in app_pods),
        reports=_reports(pods, logs),
        progress={name: progress for name, progress in folded.items() if progress is not None},
        refusal=refusal,
        pod_refusals=pod_refusals or {},
    )


def _turn(migration: Migration, status: Mapping[str, Any]) -> Migration:
    """Return whose turn it is: the run of the spec, or the one that takes back what that one has found.

    Only the newest entry counts: an older one speaks of a database that others have migrated since.
    """
    if migration.downgrade != "Allow":
        return migration
    last: Mapping[str, Any] = next(iter(status.get("history") or ()), {})
    following = taking_back(migration)
    found = last.get("id") == migration.run_id and last.get("reason") == reasons.TAKING_BACK
    return following if found or last.get("id") == following.run_id else migration


def _reports(pods: Sequence[PodView], logs: Mapping[str, str]) -> Mapping[str, Report]:
    """Read each ended pod's report: the whole one from the log where it is there, else the shortened one."""
    reports = {}
    for pod in pods:
        if pod.migrate is None or not pod.migrate.terminated:
            continue
        short, whole = read_report(pod.migrate.message), read_report(logs.get(pod.name, ""))
        report = whole if short is None or (short.truncated and whole is not None) else short
        if report is not None:
            reports[pod.name] = report
    return reports
