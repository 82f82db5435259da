"""What to say of a Job at work: placed, pulled, running, waiting, verifying, blocked, between two attempts. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from lockgate import reasons
from lockgate.decide.decision import Decision
from lockgate.decide.observation import Observation
from lockgate.decide.outcomes import explain_failure
from lockgate.decide.symptoms import why_interrupted, why_not_started
from lockgate.decide.views import JobView, PodView
from lockgate.decide.wording import one_line, sentence
from lockgate.masking import masked
from lockgate.report import Progress

__all__ = ["describe_running", "leading_pod", "run_status"]

WITHOUT_POD = timedelta(seconds=15)
"""After this long without a pod something refuses it: the Job controller needs milliseconds."""
SLOW_START = timedelta(minutes=2)
"""After this long without a known problem, say where to look for an unknown one."""

WHILE_RUNNING = 2.0
WHILE_PENDING = 5.0
WHILE_BLOCKED = 15.0


def describe_running(observation: Observation, job: JobView, now: datetime) -> Decision:
    """Say where the Job of the wanted run is."""
    if any(pod.exit_code == 0 for pod in observation.pods_of(job)):
        return _working("Verifying", reasons.VERIFYING, f"Job {job.name} has done its work and ends.")
    pods = [pod for pod in observation.pods_of(job) if not pod.ended and pod.exit_code is None]
    if any(_is_running(pod) for pod in pods):
        return _running(observation, job)
    if not pods:
        return _between(observation, job, now)
    for pod in pods:
        symptom = why_not_started(pod)
        if symptom is not None:
            return Decision("Blocked", symptom.reason, symptom.message, requeue_after=WHILE_BLOCKED)
    return _pending(observation, pods[-1], now)


def leading_pod(observation: Observation, job: JobView) -> PodView | None:
    """Return the pod whose progress counts: with standbys, the one that migrates, also while it waits for a table."""
    running = [pod for pod in observation.pods_of(job) if not pod.ended and _is_running(pod)]
    told = [pod for pod in running if pod.name in observation.progress]
    if not told:
        return next(iter(running), None)

    def nearness(pod: PodView) -> tuple[bool, bool]:
        # A standby waits for the lock and has no step. One that has lost the lock in the middle has both.
        progress = observation.progress[pod.name]
        return bool(progress.step), not progress.waiting_for

    return max(told, key=nearness)  # of equals the first


def run_status(observation: Observation, job: JobView) -> dict[str, Any]:
    """Return ``status.run`` of a Job at work, without what is not known."""
    pod = leading_pod(observation, job)
    progress = observation.progress.get(pod.name, Progress()) if pod else Progress()
    run = {
        "id": job.run_id,
        "job": job.name,
        "image": job.image,
        "startedAt": job.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "step": one_line(progress.step, 200),
        "statement": one_line(masked(progress.statement), 500),
        "percent": None if progress.percent is None else min(max(progress.percent, 0), 100),
        "waitingFor": one_line(progress.waiting_for, 300),
    }
    known = {key: value for key, value in run.items() if value not in ("", None)}
    name = _pod_of_attempt(observation, job)
    return known | ({"pod": name} if name else {}) | {"attempt": _attempt(observation, job)}


def _attempt(observation: Observation, job: JobView) -> int:
    """Count the attempts that have begun: 0 says that no container that migrates has started.

    A pod that was deleted or drained leaves no trace in the Job. The published run remembers it.
    """
    pods = observation.pods_of(job)
    done = job.failed // (observation.migration.standbys + 1)
    counted = max(done + bool(_at_work(observation, job)), int(any(pod.has_started for pod in pods)))
    run = observation.published_run(job)
    before, pod = run.get("attempt") or 0, run.get("pod")
    follows = before and pod and not observation.migration.standbys and _pod_of_attempt(observation, job) != pod
    return max(counted, before + bool(follows))


def _pod_of_attempt(observation: Observation, job: JobView) -> str:
    """Return the name of the pod that works, or worked last; empty while none has started."""
    leading = leading_pod(observation, job)
    if leading is not None:
        return leading.name
    started = [pod.name for pod in observation.pods_of(job) if pod.has_started]
    at_work = [pod.name for pod in _at_work(observation, job)]
    known = observation.published_run(job).get("pod", "")
    return next(filter(None, (*at_work[-1:], known, *started[-1:])), "")


def _at_work(observation: Observation, job: JobView) -> list[PodView]:
    return [pod for pod in observation.pods_of(job) if pod.has_started and not pod.ended]


def _is_running(pod: PodView) -> bool:
    return pod.migrate is not None and pod.migrate.running


def _running(observation: Observation, job: JobView) -> Decision:
    pod = leading_pod(observation, job)
    progress = observation.progress.get(pod.name) if pod else None
    attempt = _attempt(observation, job)
    again = f"{_numbered(observation, attempt)}: " if attempt > 1 else ""
    if pod is not None and (pod.deleting or pod.disruption):
        text = f"{again}{why_interrupted(pod)} The revision at work is rolled back, then another pod starts."
        return _working("Running", reasons.RUNNING, text)
    verb = "Takes back" if observation.migration.takes_back else "Applies"
    if progress is None:
        return _working("Running", reasons.RUNNING, f"{again}Job {job.name} runs.")
    if progress.verifying:
        return _working("Verifying", reasons.VERIFYING, f"{again}The revisions are applied; health checks run.")
    if progress.waiting_for:
        return _working("Running", reasons.WAITING, f"{again}Waits: {sentence(progress.waiting_for)}")
    if progress.step:
        return _working("Running", reasons.RUNNING, f"{again}{verb} {progress.step}.")
    return _working("Running", reasons.RUNNING, f"{again}Job {job.name} runs.")


def _working(phase: str, reason: str, message: str) -> Decision:
    return Decision(phase, reason, one_line(message), requeue_after=WHILE_RUNNING)


def _between(observation: Observation, job: JobView, now: datetime) -> Decision:
    refused = observation.pod_refusals.get(job.name)
    if refused:
        begun = _attempt(observation, job)
        which = f" for {_numbered(observation, begun + 1, 'attempt')}" if begun else ""
        text = reasons.advise(reasons.POD_NOT_CREATED, f"Job {job.name} gets no pod{which}: {sentence(refused)}")
        return Decision("Blocked", reasons.POD_NOT_CREATED, one_line(text), requeue_after=WHILE_BLOCKED)
    if job.failed or observation.pods_of(job) or observation.has_started(job):
        return _retrying(observation, job)
    if now - job.created < WITHOUT_POD:
        return Decision("Pending", reasons.STARTING, f"Job {job.name} is created.", requeue_after=WHILE_PENDING)
    where = f"kubectl describe job {job.name} -n {observation.migration.namespace}"
    text = f"Job {job.name} gets no pod: a quota or an admission policy refuses it. `{where}` shows which."
    return Decision("Blocked", reasons.POD_NOT_CREATED, text, requeue_after=WHILE_BLOCKED)


def _retrying(observation: Observation, job: JobView) -> Decision:
    """Say how the last attempt ended; the Job controller waits from 10 s to some minutes before it starts another."""
    reason, last, report = explain_failure(observation, job)
    if report is not None and not report.retryable:
        return _working("Running", reasons.RUNNING, f"Job {job.name} failed and ends: {reason}: {last}")
    ended, pod = f"The last one ended: {reason}: {last}", _pod_of_attempt(observation, job)
    if pod not in [one.name for one in observation.pods_of(job)]:
        before = observation.ready
        if before.get("reason") == reasons.RETRYING and observation.published_run(job):
            return Decision("Pending", reasons.RETRYING, before["message"], requeue_after=WHILE_PENDING)
        ended = f"Pod {pod} was deleted, and what it had not committed is rolled back." if pod else ended
    text = f"{_numbered(observation, _attempt(observation, job) + 1)} starts soon. {ended}"
    return Decision("Pending", reasons.RETRYING, one_line(text), requeue_after=WHILE_PENDING)


def _numbered(observation: Observation, attempt: int, word: str = "Attempt") -> str:
    """Return ``Attempt 2 of 7``; without the limit where pods that do not count against it have gone beyond."""
    limit = observation.migration.retry_limit + 1
    return f"{word} {attempt} of {limit}" if attempt <= limit else f"{word} {attempt}"


def _pending(observation: Observation, pod: PodView, now: datetime) -> Decision:
    if now - pod.created < SLOW_START:
        return Decision("Pending", reasons.STARTING, f"Pod {pod.name} starts.", requeue_after=WHILE_PENDING)
    where = f"kubectl describe pod {pod.name} -n {observation.migration.namespace}"
    text = (
        f"Pod {pod.name} has not started for a while: an image is pulled, or a volume is missing. `{where}` shows it."
    )
    return Decision("Blocked", reasons.POD_NOT_STARTED, text, requeue_after=WHILE_BLOCKED)
