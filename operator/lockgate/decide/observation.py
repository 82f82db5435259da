"""Everything one reconcile has seen, as frozen values. What is absent is None or empty, never an error.

dicts from the API server ──▶ views.py ──▶ observe() ──▶ Observation ──▶ plan, gate, status
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lockgate import reasons
from lockgate.decide.gate import AppPod, app_pod
from lockgate.decide.views import JobView, PodView, job_view, pod_view, timestamp
from lockgate.report import Progress, Report, fold, read_report
from lockgate.resource import Migration, parse, taking_back

__all__ = ["Observation", "observe"]


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
        if any(pod.has_started for pod in self.pods_of(job)) or job.succeeded:
            return True
        run = self.status.get("run") or {}
        testified = run.get("job") == job.name and run.get("attempt") == 0
        return job.failed > 0 and not testified

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
