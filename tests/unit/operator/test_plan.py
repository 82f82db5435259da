"""The order of the rules is behaviour: this list is to be changed on purpose only. And what holds in any order."""

from __future__ import annotations

import inspect
from datetime import datetime, timezone
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate import errors, reasons
from lockgate.decide.decision import AddFinalizer, CreateJob, DeleteJob, ReleaseFinalizer
from lockgate.decide.observation import observe
from lockgate.decide.outcomes import new_outcomes
from lockgate.decide.plan import RULES, decide
from lockgate.decide.status import build_status, satisfied_after
from lockgate.resource import parse

NOW = datetime(2026, 11, 21, 9, 30, 0, tzinfo=timezone.utc)


def test_the_rules_are_asked_in_this_order() -> None:
    assert [rule.__name__ for rule in RULES] == [
        "deletion_waits",  # nothing else matters once it is deleted
        "deletion_goes_on",
        "older_run_never_started",  # it would never end
        "older_run_is_waited_for",  # before anything about the wanted run: one at a time
        "wanted_run_is_at_work",  # before suspended: it is not killed
        "what_came_later_is_taken_back",  # before ready: what the run found is not ready yet
        "wanted_run_succeeded",  # before suspended: what is ready stays ready
        "wanted_run_failed",
        "suspended",  # before anything that leads to a run
        "name_is_taken",
        "leftover_is_removed",
        "job_was_rejected",
        "rejected_job_is_tried_again",
        "run_starts",
    ]


def test_a_reason_means_the_same_for_the_operator_and_the_runner() -> None:
    ours = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    theirs = {name for name, value in vars(errors).items() if inspect.isclass(value)}

    assert ours & theirs == {
        "DatabaseAhead",  # ready by policy, or refused by policy
        "RunTimeout",  # noticed by the runner, or by the Job's deadline
    }


def test_every_reason_is_camel_case_as_conditions_require() -> None:
    values = [value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)]

    assert len(values) > 30
    assert all(value.isalnum() and value[0].isupper() for value in values)


MIGRATION = parse(
    {
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"image": "shop:1", "database": {"urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}}},
    }
)
WANTED, DATABASE = MIGRATION.run_id, MIGRATION.database.fingerprint
minutes = st.integers(0, 59).map(lambda minute: f"2026-11-21T08:{minute:02}:00Z")
runs = st.sampled_from([WANTED, "0123456789"])
reasons_of_failure = st.sampled_from(["BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy", "FailedIndexes"])


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    run, when = draw(runs), draw(minutes)
    kind = draw(st.sampled_from(["", "Complete", "Failed"]))
    condition = {"type": kind, "status": "True", "lastTransitionTime": when, "reason": draw(reasons_of_failure)}
    return {
        "metadata": {
            "name": f"shop-{run}",
            "uid": f"uid-{run}",
            "creationTimestamp": when,
            "labels": {"lockgate.dev/run-of": "shop", "lockgate.dev/run": run},
            "ownerReferences": [{"uid": draw(st.sampled_from(["uid-shop", "uid-old"])), "controller": True}],
        },
        "status": {"failed": draw(st.integers(0, 3)), "conditions": [condition] if kind else []},
    }


@st.composite
def pods(draw: st.DrawFn) -> dict[str, Any]:
    run = draw(runs)
    detail = {
        "exitCode": draw(st.sampled_from([0, 1, 11, 20, 30, 127, 137])),
        "reason": draw(st.sampled_from(["", "ErrImagePull", "CreateContainerConfigError", "OOMKilled", "StartError"])),
    }
    kind = draw(st.sampled_from(["waiting", "running", "terminated"]))
    words = (
        ["", 'secret "x" not found', "one\ntwo"] if kind == "waiting" else ["", "Traceback (most recent call last)\nx"]
    )
    if kind == "terminated" and detail["reason"] == "StartError":
        words = ["exec: python3"]  # the container runtime's words, of which no log is part
    state = {kind: {**detail, "message": draw(st.sampled_from(words))}}
    return {
        "metadata": {
            "name": f"pod-{draw(st.integers(0, 9))}",
            "labels": {"lockgate.dev/run": run, "job-name": f"shop-{run}"},
            "creationTimestamp": draw(minutes),
        },
        "status": {
            "phase": draw(st.sampled_from(["Pending", "Running", "Succeeded", "Failed"])),
            "containerStatuses": draw(st.sampled_from([[], [{"name": "migrate", "restartCount": 0, "state": state}]])),
        },
    }


entries = st.fixed_dictionaries(
    {
        "id": runs,
        "outcome": st.sampled_from(["Succeeded", "Failed", "Interrupted"]),
        "reason": st.just("Any"),
        "message": st.just("Any."),
        "startedAt": minutes,
    }
)
resources = st.fixed_dictionaries(
    {
        "deleting": st.booleans(),
        "suspend": st.booleans(),
        "held": st.booleans(),
        "history": st.lists(entries, max_size=2),
        "satisfied": st.sampled_from([{}, {"database": DATABASE, "images": [{"image": "shop:1"}]}]),
        "run": st.sampled_from([{}, {"id": WANTED, "job": f"shop-{WANTED}", "attempt": 0}]),
        "reason": st.sampled_from(["", "JobRejected", "JobNameTaken", "SecretNotFound", "Migrated"]),
        "refusal": st.sampled_from(["", "The Job is refused."]),
    }
)


def body_of(known: dict[str, Any]) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "False", "reason": known["reason"], "message": "Before."}
    return {
        "metadata": {
            "name": "shop",
            "namespace": "default",
            "uid": "uid-shop",
            "generation": 1,
            "creationTimestamp": "2026-11-21T07:00:00Z",
            "finalizers": ["lockgate.dev/run"] if known["held"] else [],
            **({"deletionTimestamp": "2026-11-21T09:00:00Z"} if known["deleting"] else {}),
        },
        "spec": {
            "image": "shop:1",
            "database": {"urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}},
            "suspend": known["suspend"],
        },
        "status": {
            "observedGeneration": 1,
            "history": known["history"],
            "satisfied": known["satisfied"],
            "run": known["run"],
            "conditions": [ready] if known["reason"] else [],
        },
    }


@given(
    resources, st.lists(jobs(), max_size=3, unique_by=lambda job: job["metadata"]["name"]), st.lists(pods(), max_size=3)
)
@settings(deadline=None, max_examples=200)
def test_whatever_is_seen_the_promises_hold(
    known: dict[str, Any], seen_jobs: list[dict[str, Any]], seen_pods: list[dict[str, Any]]
) -> None:
    observation = observe(body_of(known), jobs=seen_jobs, migration_pods=seen_pods, refusal=known["refusal"])
    outcomes = new_outcomes(observation, NOW)
    satisfied = satisfied_after(observation, outcomes, NOW)
    decision = decide(observation, outcomes, satisfied, NOW)
    status = build_status(observation, outcomes, satisfied, decision, NOW)

    at_work = [job for job in observation.jobs if job.active]
    creates = CreateJob() in decision.actions
    assert not (creates and at_work), "one Job at a time"
    assert not (creates and (known["suspend"] or known["deleting"]))
    for action in decision.actions:
        if isinstance(action, DeleteJob):
            job = next(job for job in observation.jobs if job.uid == action.uid)
            assert not (job.active and observation.has_started(job)), "a migration is never killed"
    if creates:
        assert known["held"] or decision.actions[0] == AddFinalizer()
    if ReleaseFinalizer() in decision.actions:
        assert not [job for job in at_work if job.owned and observation.has_started(job)]
    newest = [outcome.for_status() for outcome in reversed(outcomes)] or known["history"]
    if decision.ready:
        assert (newest[0]["id"], newest[0]["outcome"]) == (WANTED, "Succeeded")
        assert "shop:1" in [entry["image"] for entry in status["satisfied"]["images"]], "pods would stay held"
        assert not decision.reconciling
    assert not (decision.stalled and decision.reconciling)
    assert not (decision.ready and decision.stalled)
    assert "Traceback" not in str(status)
    assert "\n" not in decision.message
    assert len(status["conditions"]) == 5
