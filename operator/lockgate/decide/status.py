"""The whole ``.status``, derived from what was observed and decided. Pure; written once per pass, if it changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lockgate import reasons
from lockgate.decide.conditions import Condition, merge, status_word
from lockgate.decide.decision import Decision
from lockgate.decide.gate import MAX_STRANGERS, count, strangers
from lockgate.decide.observation import Observation
from lockgate.decide.outcomes import Outcome
from lockgate.decide.running import leading_pod, run_status
from lockgate.decide.satisfied import Satisfied, read_satisfied
from lockgate.decide.wording import identifiers, one_line, summary

__all__ = ["build_status", "differs_only_in_progress", "refused_status", "satisfied_after"]

PROGRESS = ("run", "revision", "conditions", "gate")
"""The parts that may change every moment while a run is at work."""


def satisfied_after(observation: Observation, outcomes: Sequence[Outcome], now: datetime) -> Satisfied:
    """Return what the database is known to contain, with the runs whose end has just been found out."""
    migration = observation.migration
    record = read_satisfied(
        observation.status, database=migration.database.fingerprint, created=migration.created, now=now
    )
    wanted = [pod.want for pod in observation.app_pods if not pod.gone]
    for outcome in outcomes:
        report = outcome.report
        if outcome.database != record.database:
            continue
        if report is not None:
            record = record.as_reported(report, wanted, now)
        if outcome.outcome == "Succeeded":
            revisions = () if report is None else identifiers((*report.reached, *report.revisions))
            leads_to = summary(report.target or report.reached) if report else ""
            record = record.extended(outcome.image, leads_to, revisions, wanted)
            if outcome.reason == reasons.TAKING_BACK and report is not None:
                # Before the run that takes them back: pods that need one of them are held from now on.
                record = record.without(report.ahead, outcome.image, now)
    return record


def build_status(
    observation: Observation, outcomes: Sequence[Outcome], satisfied: Satisfied, decision: Decision, now: datetime
) -> dict[str, Any]:
    """Return the status to publish."""
    migration, before = observation.migration, observation.status
    status = {
        "observedGeneration": migration.generation,
        "phase": decision.phase,
        "conditions": merge(
            before.get("conditions") or (), _conditions(decision), generation=migration.generation, now=now
        ),
        "satisfied": satisfied.for_status(),
        "gate": _gate(observation, satisfied, decision, now),
        "history": _history(observation, outcomes),
    }
    revision = _revision(observation, outcomes, decision, now)
    if revision:  # server-side apply turns a map that has become empty into null
        status["revision"] = revision
    job = observation.job
    at_work = [job for job in observation.jobs if job.owned and job.active and not observation.is_over(job, now)]
    if job is not None and job in at_work:
        status["run"] = run_status(observation, job)
    elif older := next(iter(at_work), None):
        status["run"] = run_status(observation, older)
    elif any(job.owned and observation.ended_unstarted(job) for job in observation.jobs) and "run" in before:
        status["run"] = before["run"]  # testifies that nothing has started, until the Job is removed
    return status


def refused_status(observation: Observation, refusal: str, now: datetime) -> dict[str, Any]:
    """Return what is published, with conditions that say that the API server refuses what should be.

    What was accepted once is kept: the record of what is satisfied, and the history, from which the next pass goes on.
    """
    migration, before = observation.migration, observation.status
    text = reasons.advise(reasons.STATUS_REFUSED, one_line(f"The API server refuses the status. {refusal}", 600))
    decision = Decision("Blocked", reasons.STATUS_REFUSED, text, reconciling=False, stalled=True)
    conditions = merge(before.get("conditions") or (), _conditions(decision), generation=migration.generation, now=now)
    kept = {key: value for key, value in before.items() if value}
    return kept | {"observedGeneration": migration.generation, "phase": decision.phase, "conditions": conditions}


def differs_only_in_progress(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Say whether the difference may wait a moment: same phase, same reason, only the figures moved."""

    def lasting(status: Mapping[str, Any]) -> tuple[Any, ...]:
        conditions = [(c["type"], c["status"], c["reason"]) for c in status.get("conditions") or ()]
        return conditions, {key: value for key, value in status.items() if key not in PROGRESS}

    return lasting(before) == lasting(after)


def _conditions(decision: Decision) -> tuple[Condition, ...]:
    reason, message = decision.reason, decision.message
    return (
        Condition("Ready", status_word(decision.ready), reason, message),
        Condition("Reconciling", status_word(decision.reconciling), reason, message if decision.reconciling else ""),
        Condition("Stalled", status_word(decision.stalled), reason, message if decision.stalled else ""),
        Condition("Migrated", status_word(decision.migrated), reason, ""),
        Condition("Healthy", status_word(decision.healthy), reason, message if decision.healthy is False else ""),
    )


def _revision(
    observation: Observation, outcomes: Sequence[Outcome], decision: Decision, now: datetime
) -> dict[str, Any]:
    """Say where the database is and where it should be: from the run at work, a run that ended, or as published."""
    same_database = (observation.status.get("satisfied") or {}).get("database") in (
        None,
        observation.migration.database.fingerprint,
    )
    known = dict(observation.status.get("revision") or {}) if same_database else {}
    told = (observation.last_recorded.get("id"), (observation.status.get("run") or {}).get("id"))
    if not decision.ready and observation.migration.run_id not in told:
        known = {key: known[key] for key in ("current", "summary") if key in known}
    for outcome in outcomes:
        report = outcome.report
        if report is not None and outcome.database == observation.migration.database.fingerprint:
            known |= _figures(report.reached, report.target, report.pending)
    if observation.job is not None and observation.job.active and not observation.is_over(observation.job, now):
        pod = leading_pod(observation, observation.job)
        progress = observation.progress.get(pod.name) if pod else None
        if progress is not None and (progress.target or progress.current):
            known |= _figures(progress.current, progress.target, progress.pending)
    return known


def _figures(current: Sequence[str], target: Sequence[str], pending: int | None) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "current": list(identifiers(current)[:50]),
        "target": list(identifiers(target)[:50]),
        "summary": summary(current),
        "targetSummary": summary(target),
    }
    return figures if pending is None else figures | {"pending": max(pending, 0)}


def _gate(observation: Observation, satisfied: Satisfied, decision: Decision, now: datetime) -> dict[str, Any]:
    counts = count(observation.app_pods, satisfied)
    image = "" if decision.ready else observation.migration.image
    waiting = strangers(observation.app_pods, satisfied, expected=image, now=now)
    entries = [{"pod": pod.name, "wants": one_line(pod.want.words, 500)} for pod in waiting[:MAX_STRANGERS]]
    return {
        "held": counts.held,
        "opened": counts.opened,
        "bypassed": counts.bypassed,
        "unguarded": counts.unguarded,
        **({"uncovered": entries} if entries else {}),
    }


def _history(observation: Observation, outcomes: Sequence[Outcome]) -> list[Mapping[str, Any]]:
    new = [outcome.for_status() for outcome in reversed(outcomes)]
    return [*new, *(observation.status.get("history") or ())][: observation.migration.history_limit]
