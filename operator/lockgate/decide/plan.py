"""The policy of the operator: what one resource needs next, as an ordered list of small rules. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from lockgate import reasons
from lockgate.decide import rules
from lockgate.decide.decision import Action, AddFinalizer, CreateJob, Decision, DeleteJob, ReleaseFinalizer
from lockgate.decide.observation import OUTLIVED, Observation
from lockgate.decide.outcomes import Outcome
from lockgate.decide.rules import Facts
from lockgate.decide.satisfied import Satisfied
from lockgate.decide.views import JobView
from lockgate.resource import FINALIZER

__all__ = ["RULES", "decide"]

RULES: tuple[Callable[[Facts], Decision | None], ...] = (
    rules.deletion_waits,
    rules.deletion_goes_on,
    rules.older_run_never_started,
    rules.older_run_is_waited_for,
    rules.wanted_run_is_at_work,
    rules.what_came_later_is_taken_back,
    rules.wanted_run_succeeded,
    rules.wanted_run_failed,
    rules.suspended,
    rules.name_is_taken,
    rules.leftover_is_removed,
    rules.job_was_rejected,
    rules.rejected_job_is_tried_again,
    rules.run_starts,
)
"""The first rule that returns a Decision wins."""

READABLE = timedelta(minutes=10)
"""How long the pod of a failed run is left to those who read its log, where it does not end by itself."""


def decide(observation: Observation, outcomes: tuple[Outcome, ...], satisfied: Satisfied, now: datetime) -> Decision:
    """Return what to publish and to do.

    ``outcomes`` are the runs whose end has just been found out, oldest first; ``satisfied`` is the record with them.
    """
    last = outcomes[-1].for_status() if outcomes else observation.last_recorded
    facts = Facts(observation, last, satisfied, now)
    decision = next(found for rule in RULES if (found := rule(facts)) is not None)
    decision = _without_outlived_jobs(facts, decision)
    return replace(decision, actions=_with_finalizer(facts, decision))


def _without_outlived_jobs(facts: Facts, decision: Decision) -> Decision:
    """Remove the Jobs whose run has ended, and whose pod is kept alive by a container that was added to it.

    A failed one stays for a while, because its log goes with it; no longer than until another run starts.
    """
    removed = {action.uid for action in decision.actions if isinstance(action, DeleteJob)}
    left = {
        job: timedelta() if CreateJob() in decision.actions else _stays(facts, job)
        for job in facts.observation.jobs
        if job.owned and facts.is_over(job) and job.uid not in removed
    }
    due = tuple(DeleteJob(job.name, job.uid, job.resource_version) for job, stays in left.items() if not stays)
    waits = [stays.total_seconds() for stays in left.values() if stays]
    again = min((wait for wait in (decision.requeue_after, *waits) if wait), default=None)
    return replace(decision, actions=(*due, *decision.actions), requeue_after=again)


def _stays(facts: Facts, job: JobView) -> timedelta:
    """Return how much longer the Job of a run that has ended stays."""
    pods = facts.observation.pods_of(job)
    if any(pod.failed_by for pod in pods):  # the Job is about to try again what is done
        return timedelta()
    succeeded = any(pod.exit_code == 0 for pod in pods)
    return max(timedelta(), (OUTLIVED if succeeded else READABLE) - facts.observation.outlived_for(job, facts.now))


def _with_finalizer(facts: Facts, decision: Decision) -> tuple[Action, ...]:
    """Add the finalizer before a Job is created, release it when none is at work.

    While a Job is refused the finalizer stays: each try would add and release it, and each of that would wake us again.
    """
    migration, actions = facts.observation.migration, decision.actions
    held, creates = FINALIZER in migration.finalizers, CreateJob() in actions
    at_work = [job for job in facts.at_work if job.owned]
    if migration.deleting:
        at_work = [job for job in at_work if facts.observation.has_started(job)]
    if (creates or at_work) and not held and not migration.deleting:
        return (AddFinalizer(), *actions)
    refused = decision.reason == reasons.JOB_REJECTED
    if held and not creates and not at_work and not refused:
        return (*actions, ReleaseFinalizer())
    return actions
