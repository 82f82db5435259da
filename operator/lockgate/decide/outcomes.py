"""How runs ended: from finished Jobs, their pods and reports to the entries of ``status.history``. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lockgate import reasons
from lockgate.decide.observation import Observation
from lockgate.decide.symptoms import why_ended, why_interrupted
from lockgate.decide.views import JobView, PodView, timestamp
from lockgate.decide.wording import named, one_line, plural, sentence, summary
from lockgate.errors import Interrupted
from lockgate.masking import masked
from lockgate.report import Report

__all__ = ["Outcome", "explain_failure", "new_outcomes"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one run."""

    id: str
    image: str
    database: str
    """Fingerprint of the database it was about: a success in another one satisfies nothing here."""
    outcome: str
    """``Succeeded``, ``Failed`` or ``Interrupted``."""
    reason: str
    message: str
    started: datetime
    """When the Job was created: runs are serial, so this orders them."""
    seconds: int
    report: Report | None = None

    def for_status(self) -> dict[str, Any]:
        """Return the entry of ``status.history``."""
        entry = {
            "id": self.id,
            "image": self.image,
            "outcome": self.outcome,
            "reason": self.reason,
            "message": self.message,
            "startedAt": self.started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "seconds": self.seconds,
        }
        if self.report is not None:
            entry |= {"from": summary(self.report.current), "to": summary(self.report.reached)}
        return entry


def new_outcomes(observation: Observation, now: datetime) -> tuple[Outcome, ...]:
    """Return how runs ended that the published history does not tell of yet, oldest first.

    A Job that ran out of time before its pod could start is not an outcome: nothing has run, and a Secret that appears
    an hour late must still help. Any other failure is one, even without a start: repeating it at once would never end.
    """
    found = [
        _outcome(observation, job, now)
        for job in observation.jobs
        if job.owned and not observation.is_recorded(job)
        if not job.active or observation.is_over(job, now)
        if not observation.ended_unstarted(job)
    ]
    return tuple(found) or _vanished(observation)


def explain_failure(observation: Observation, job: JobView) -> tuple[str, str, Report | None]:
    """Return reason, message and report of the newest attempt of a Job that failed, if any attempt ended."""
    ended = [pod for pod in observation.pods_of(job) if pod.exit_code or pod.phase == "Failed"]
    reported = [pod for pod in ended if pod.name in observation.reports]
    permanent = [pod for pod in reported if not observation.reports[pod.name].retryable]
    if permanent or reported:
        pod = (permanent or reported)[-1]
        report = observation.reports[pod.name]
        cause = why_interrupted(pod) if report.exit_code == Interrupted.exit_code else ""
        text = " ".join(filter(None, (failure_text(report), cause)))
        return named(report.reason, reasons.POD_FAILED), text, report
    if ended:
        symptom = why_ended(ended[-1])
        return symptom.reason, symptom.message, None
    return reasons.POD_FAILED, f"The pods of Job {job.name} are gone, and with them what they said.", None


def failure_text(report: Report) -> str:
    """Return a failed report as one sentence or two: what happened, in which revision and statement, what to do."""
    parts = [sentence(masked(report.message))]
    failure = report.failure
    if failure is not None:
        if failure.revision and failure.revision not in report.message:
            parts.append(f"Revision {failure.revision}.")
        if failure.sqlstate and failure.sqlstate not in report.message:
            parts.append(f"SQLSTATE {failure.sqlstate}.")
        if failure.statement and failure.statement[:60] not in report.message:
            parts.append(f"Statement: {one_line(masked(failure.statement), 300)}")
    return one_line(" ".join(parts))


def _outcome(observation: Observation, job: JobView, now: datetime) -> Outcome:
    last = observation.last_container(job, now) if job.active else None
    ended = job.ended or (last.migrate.ended if last and last.migrate else None) or job.created
    complete = job.complete or (last is not None and last.exit_code == 0) or _has_succeeded(observation, job)
    if complete and _said_nothing(observation, job):
        text = f"Job {job.name} succeeded without a report, so it was not the runner that ran, and nothing is verified."
        reason, message, report = reasons.RUNNER_DID_NOT_RUN, reasons.advise(reasons.RUNNER_DID_NOT_RUN, text), None
        outcome = "Failed"
    elif complete:
        outcome, (reason, message, report) = "Succeeded", _success(observation, job)
    elif last is not None:
        outcome, (reason, message, report) = "Failed", explain_failure(observation, job)
    else:
        outcome, (reason, message, report) = "Failed", _failure(observation, job)
    if last is not None:
        message = one_line(f"{sentence(message)} {_outlived(last)}")
    spent = max(0, int((ended - job.created).total_seconds()))
    return Outcome(job.run_id, job.image, job.database, outcome, reason, message, job.created, spent, report)


def _has_succeeded(observation: Observation, job: JobView) -> bool:
    """Say whether a pod is there whose runner reports success, whatever the Job says of the rest of the pod."""
    reports = (observation.reports.get(pod.name) for pod in observation.pods_of(job) if pod.exit_code == 0)
    return any(report is not None and report.exit_code == 0 for report in reports)


def _outlived(pod: PodView) -> str:
    """Say which containers were added to a pod, and how to keep them away."""
    names = ", ".join(pod.kept_by or pod.failed_by)
    does = "keeps" if pod.kept_by else "has failed and keeps"
    return (
        f"Container {names}, which is not of the Job, {does} pod {pod.name} from ending well, so the Job is removed."
        " Exclude these pods from the injection by a label or annotation in spec.template.metadata, or have it"
        " injected as a native sidecar."
    )


def _said_nothing(observation: Observation, job: JobView) -> bool:
    """Say whether a container that ended well is still there and left no report: the runner always leaves one."""
    pods = observation.pods_of(job)
    ended_well = any(pod.migrate is not None and pod.migrate.terminated and pod.migrate.exit_code == 0 for pod in pods)
    return ended_well and not any(pod.name in observation.reports for pod in pods)


def _success(observation: Observation, job: JobView) -> tuple[str, str, Report | None]:
    found = (observation.reports.get(pod.name) for pod in observation.pods_of(job))
    succeeded = [report for report in found if report is not None and report.exit_code == 0]
    if not succeeded:
        text = f"Job {job.name} succeeded, so image {job.image} is satisfied, but its report could not be read."
        return reasons.REPORT_MISSING, reasons.advise(reasons.REPORT_MISSING, text), None
    report = max(succeeded, key=lambda one: len(one.applied))
    if _is_to_be_taken_back(observation, job, report):
        many = plural(len(report.ahead), "revision") if report.ahead else "what came later"
        text = f"The database is ahead of this image, at {summary(report.reached)}: {many} will be taken back."
        return reasons.TAKING_BACK, one_line(text), report
    text = f"{summary(report.current) or 'empty'} to {summary(report.reached) or 'empty'}"
    text = f"Applied {plural(len(report.applied), 'revision')}, {text}." if report.applied else report.message
    if report.truncated and not report.revisions:
        text = f"{text} The list of its revisions could not be read: pods that ask for an older one stay held."
    return named(report.reason, reasons.MIGRATED), one_line(" ".join((sentence(text), *report.warnings))), report


def _is_to_be_taken_back(observation: Observation, job: JobView, report: Report) -> bool:
    """Say whether this was the first of two runs: it has found what the second one is allowed to take back."""
    migration = observation.migration
    allowed = migration.downgrade == "Allow" and not migration.takes_back and job.run_id == migration.run_id
    return allowed and report.reason == reasons.DATABASE_AHEAD and bool(report.ahead or report.truncated)


def _failure(observation: Observation, job: JobView) -> tuple[str, str, Report | None]:
    reason, message, report = explain_failure(observation, job)
    if job.failure == "DeadlineExceeded" and reason != reasons.RUN_TIMEOUT:
        text = f"The run took longer than spec.timeouts.run allows. Last: {message}"
        return reasons.RUN_TIMEOUT, one_line(reasons.advise(reasons.RUN_TIMEOUT, text)), report
    if job.failure == "PodFailurePolicy" and report is not None:
        return reason, message, report
    if job.failure in ("BackoffLimitExceeded", "FailedIndexes"):
        text = f"Gave up after {plural(_attempts(observation, job), 'attempt')}. {message}"
        exhausted = reasons.RETRIES_EXHAUSTED if reason == reasons.POD_FAILED else reason
        if "lockgate.dev/retry" not in text:
            text = reasons.advise(reasons.RETRIES_EXHAUSTED, text)
        return exhausted, one_line(text), report
    return reason, one_line(message), report


def _attempts(observation: Observation, job: JobView) -> int:
    return max(1, job.failed // (observation.migration.standbys + 1))


def _vanished(observation: Observation) -> tuple[Outcome, ...]:
    """Notice a run that was at work in the pass before and whose Job is gone without an end anybody saw."""
    run = observation.status.get("run") or {}
    started = timestamp(run.get("startedAt"))
    last = observation.last_recorded_start
    if not run.get("attempt") or started is None or (last is not None and started <= last):
        return ()
    if any(job.name == run.get("job") and job.created <= started for job in observation.jobs):
        return ()
    text = f"Job {run.get('job')} was deleted before anybody saw it end."
    return (
        Outcome(run.get("id", ""), run.get("image", ""), "", "Interrupted", reasons.JOB_VANISHED, text, started, 0),
    )
