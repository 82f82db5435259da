"""The rules by which `lockgate.decide.plan` decides: each looks at the facts and returns a Decision, or None. Pure.

A rule relies on nothing but the facts, not on the rules before it having passed: the order, which is in
`lockgate.decide.plan`, only says which of several true things matters most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from lockgate import reasons
from lockgate.decide.decision import CreateJob, Decision, DeleteJob
from lockgate.decide.gate import SETTLED, held_back, strangers
from lockgate.decide.observation import Observation
from lockgate.decide.running import WHILE_BLOCKED, WHILE_PENDING, describe_running
from lockgate.decide.satisfied import Satisfied, Want
from lockgate.decide.views import JobView
from lockgate.decide.wording import sentence
from lockgate.errors import CheckFailed, Refused, exit_code_of

__all__ = [
    "WEBHOOK_DOWN",
    "WHILE_REFUSED",
    "Facts",
    "deletion_goes_on",
    "deletion_waits",
    "job_was_rejected",
    "leftover_is_removed",
    "name_is_taken",
    "older_run_is_waited_for",
    "older_run_never_started",
    "rejected_job_is_tried_again",
    "run_starts",
    "suspended",
    "wanted_run_failed",
    "wanted_run_is_at_work",
    "wanted_run_succeeded",
    "what_came_later_is_taken_back",
]

WHILE_OTHERS_WORK = 10.0
WHILE_REFUSED = 60.0
WEBHOOK_DOWN = "failed calling webhook"
"""The API server's words where an admission webhook gives no answer: nothing is wrong with the Job then."""
AGAIN = "Another try starts when the spec asks for another run, or the annotation lockgate.dev/retry changes."


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at."""

    observation: Observation
    last: Mapping[str, Any]
    """The newest run that ended, as an entry of ``status.history``: what was published, or has just been found out."""
    satisfied: Satisfied
    """What the database that the spec names is known to contain, with what has just been found out."""
    now: datetime

    @property
    def last_of_wanted(self) -> Mapping[str, Any]:
        """The newest run, if it is the wanted one. A rollback to an earlier image is a new run, not an old success."""
        return self.last if self.last.get("id") == self.observation.migration.run_id else {}

    @property
    def at_work(self) -> tuple[JobView, ...]:
        """Jobs that have not ended, and whose run has not."""
        return tuple(job for job in self.observation.jobs if job.active and not self.is_over(job))

    def is_over(self, job: JobView) -> bool:
        """Say whether nothing of this Job's run is left but containers that were added to its pod."""
        return self.observation.is_over(job, self.now)


def deletion_waits(facts: Facts) -> Decision | None:
    """Wait with the deletion: it would take a Job along, in the middle of a revision."""
    observation = facts.observation
    started = [job.name for job in facts.at_work if job.owned and observation.has_started(job)]
    if not observation.migration.deleting or not started:
        return None
    text = f"The resource is deleted as soon as Job {started[0]} has ended: a migration is never killed."
    return Decision("Running", reasons.DELETING, text, requeue_after=WHILE_OTHERS_WORK)


def deletion_goes_on(facts: Facts) -> Decision | None:
    """Let the deletion go on: nothing is at work, and the garbage collector takes the Jobs."""
    if not facts.observation.migration.deleting:
        return None
    return Decision("Pending", reasons.DELETING, "The resource is being deleted.")


def older_run_never_started(facts: Facts) -> Decision | None:
    """Remove a Job of an earlier spec whose pods never ran (no image, no Secret): it would be waited for in vain."""
    older = [job for job in _others(facts) if job.owned and not facts.observation.has_started(job)]
    if not older:
        return None
    text = f"Job {older[0].name} of an earlier spec never started and is removed; then this spec's turn comes."
    remove = tuple(DeleteJob(job.name, job.uid, job.resource_version) for job in older)
    return Decision("Pending", reasons.STARTING, text, actions=remove, requeue_after=1.0)


def older_run_is_waited_for(facts: Facts) -> Decision | None:
    """Wait for a Job of an earlier spec, or of an earlier resource of the same name."""
    if not _others(facts):
        return None
    text = f"Waits for Job {_others(facts)[0].name} of an earlier spec: a migration is never killed."
    return Decision("Pending", reasons.WAITING_FOR_OLDER_RUN, text, requeue_after=WHILE_OTHERS_WORK)


def wanted_run_is_at_work(facts: Facts) -> Decision | None:
    """Tell of the Job of the wanted run while it has not ended."""
    job = facts.observation.job
    if job is None or not job.owned or job not in facts.at_work:
        return None
    decision = describe_running(facts.observation, job, facts.now)
    if facts.observation.migration.suspend:
        text = f"{decision.message} spec.suspend starts no further run and leaves this one alone."
        return replace(decision, message=text)
    return decision


def what_came_later_is_taken_back(facts: Facts) -> Decision | None:
    """Publish first what will be gone; the next pass starts the run that takes it back."""
    last = facts.last_of_wanted
    if last.get("reason") != reasons.TAKING_BACK or facts.observation.migration.takes_back:
        return None
    return Decision("Pending", reasons.TAKING_BACK, last["message"], requeue_after=1.0)


def wanted_run_succeeded(facts: Facts) -> Decision | None:
    """Be ready when the newest run is the wanted one and ended well; its Job may long be gone.

    The record of what is satisfied has to agree. It starts anew when ``spec.database`` changes, also when that is
    changed back before anything ran: Ready without a record would hold the pods with nothing left that opens them.
    """
    last = facts.last_of_wanted
    recorded = facts.satisfied.covers(Want(image=facts.observation.migration.image))
    if last.get("outcome") != "Succeeded" or not recorded:
        return None
    pods = facts.observation.app_pods
    waiting = held_back(strangers(pods, facts.satisfied, expected="", now=facts.now), facts.satisfied)
    settles = any(pod.held and facts.now - pod.created < SETTLED for pod in pods)
    return Decision(
        "Ready",
        last["reason"],
        " ".join(filter(None, (last["message"], waiting))),
        ready=True,
        reconciling=False,
        migrated=True,
        healthy=True,
        requeue_after=SETTLED.total_seconds() if settles else None,
    )


def wanted_run_failed(facts: Facts) -> Decision | None:
    """Stop when the newest run is the wanted one and failed for good: the same input would fail again."""
    last = facts.last_of_wanted
    if last.get("outcome") != "Failed":
        return None
    exit_code = exit_code_of(last["reason"])
    unhealthy = exit_code == CheckFailed.exit_code
    return Decision(
        "Blocked" if exit_code == Refused.exit_code else "Failed",
        last["reason"],
        last["message"] if _says_how(last["message"]) else f"{sentence(last['message'])} {AGAIN}",
        reconciling=False,
        stalled=True,
        migrated=unhealthy,
        healthy=False if unhealthy else None,
    )


def suspended(facts: Facts) -> Decision | None:
    """Start nothing: a person asked for that."""
    if not facts.observation.migration.suspend:
        return None
    text = "No run is started while spec.suspend is true."
    return Decision("Suspended", reasons.SUSPENDED, text, reconciling=False)


def name_is_taken(facts: Facts) -> Decision | None:
    """Wait while a Job of the wanted name belongs to another resource, for example to a deleted one of this name."""
    job = facts.observation.job
    if job is None or job.owned:
        return None
    text = f"Job {job.name} exists and belongs to another resource. If it stays, delete it."
    return Decision("Blocked", reasons.JOB_NAME_TAKEN, text, requeue_after=WHILE_BLOCKED)


def leftover_is_removed(facts: Facts) -> Decision | None:
    """Remove a Job of the wanted name that ended and tells nothing about the wanted run.

    Either it ran before another run (a rollback to an earlier image), or it ran out of time before its pod could start.
    """
    job = facts.observation.job
    if job is None:
        return None
    remove = (DeleteJob(job.name, job.uid, job.resource_version),)
    before = facts.observation.ready
    if not facts.observation.is_recorded(job) and before.get("reason") in reasons.STARTED_NOTHING:
        return Decision("Blocked", before["reason"], before["message"], actions=remove, requeue_after=WHILE_PENDING)
    text = f"Job {job.name} of an earlier run is removed; then it runs again."
    return Decision("Pending", reasons.STARTING, text, actions=remove, requeue_after=1.0)


def job_was_rejected(facts: Facts) -> Decision | None:
    """Say that the API server refused the Job in this very pass."""
    if not facts.observation.refusal:
        return None
    return _rejected(facts.observation.refusal)


def rejected_job_is_tried_again(facts: Facts) -> Decision | None:
    """Try a Job that was refused before again, without claiming in between that it starts."""
    before, migration = facts.observation.ready, facts.observation.migration
    same_spec = facts.observation.status.get("observedGeneration") == migration.generation
    if before.get("reason") != reasons.JOB_REJECTED or not same_spec:
        return None
    return replace(_rejected(before["message"]), message=before["message"], actions=(CreateJob(),))


def run_starts(facts: Facts) -> Decision | None:
    """Create the Job; the status that says so is written first."""
    text = f"Job {facts.observation.migration.job_name} is about to start."
    return Decision("Pending", reasons.STARTING, text, actions=(CreateJob(),), requeue_after=WHILE_PENDING)


def _others(facts: Facts) -> tuple[JobView, ...]:
    """Return the Jobs at work that are not the wanted run's own."""
    wanted = facts.observation.migration.job_name
    return tuple(job for job in facts.at_work if job.name != wanted or not job.owned)


def _rejected(message: str) -> Decision:
    if WEBHOOK_DOWN in message:
        return Decision("Blocked", reasons.JOB_REJECTED, message, requeue_after=WHILE_BLOCKED)
    text = reasons.advise(reasons.JOB_REJECTED, message)
    return Decision("Blocked", reasons.JOB_REJECTED, text, reconciling=False, stalled=True, requeue_after=WHILE_REFUSED)


def _says_how(message: str) -> bool:
    """Say whether a message tells already how to get another try."""
    return "lockgate.dev/retry" in message or "also starts the next try" in message
