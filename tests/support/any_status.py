"""Statuses that the operator makes of whatever a container may have printed and a resource may have been through."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from lockgate.decide.observation import observe
from lockgate.decide.outcomes import new_outcomes
from lockgate.decide.plan import decide
from lockgate.decide.status import build_status, refused_status, satisfied_after
from lockgate.report import (
    CheckResult,
    Failure,
    ImageTarget,
    Progress,
    Report,
    progress_line,
    report_line,
    termination_message,
)
from lockgate.resource import parse

NOW = datetime(2026, 11, 21, 9, 30, 0, tzinfo=timezone.utc)
CREATED = "2026-11-21T09:00:00Z"
SPEC = {"image": "shop:1", "database": {"urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}}}
OTHER = {**SPEC, "database": {"urlFrom": {"secretKeyRef": {"name": "other", "key": "url"}}}}

words = st.text(max_size=20) | st.sampled_from(["", "d41", "é" * 400, "\U0001f600" * 300, "\x00\x1b[31m", "x" * 5000])
names = st.lists(words, max_size=4).map(tuple) | st.just(tuple(f"{n:012x}" for n in range(60)))
numbers = st.sampled_from([-1, 0, 1, 100, 101, 2**31 - 1])
reports = st.builds(
    Report,
    outcome=st.sampled_from(["Succeeded", "Failed", "Interrupted", "x" * 300]),
    reason=st.sampled_from(["Migrated", "NothingToDo", "DatabaseAhead", "MigrationFailed", "Interrupted"]) | words,
    message=words,
    exit_code=st.sampled_from([0, 11, 20, 30]),
    retryable=st.booleans(),
    current=names,
    reached=names,
    target=names,
    pending=numbers,
    ahead=names,
    failure=st.none() | st.builds(Failure, revision=words, statement=words, sqlstate=words, error=words),
    checks=st.lists(st.builds(CheckResult, name=words, passed=st.booleans(), message=words), max_size=2).map(tuple),
    revisions=names,
    database=words,
    complete=st.booleans(),
    images=st.lists(st.builds(ImageTarget, image=words, target=names), max_size=3).map(tuple),
    warnings=names,
    truncated=st.booleans(),
)
progresses = st.builds(
    Progress,
    current=names,
    target=names,
    pending=st.none() | numbers,
    step=words,
    statement=words,
    percent=st.none() | numbers,
    waiting_for=words,
    verifying=st.booleans(),
)


def mostly(value: Any, otherwise: Any = None) -> st.SearchStrategy[Any]:
    """Draw ``value`` four times in five; what is empty stands in for it by default."""
    return st.sampled_from([value] * 4 + [type(value)() if otherwise is None else otherwise])


@st.composite
def app_pods(draw: st.DrawFn) -> dict[str, Any]:
    labels = draw(st.sampled_from([{}, {"lockgate.dev/revision": "e52"}]))
    annotations = draw(st.sampled_from([{}, {"lockgate.dev/bypass": "INC-7"}, {"lockgate.dev/gated": "true"}]))
    image = draw(st.sampled_from(["shop:1", "mirror/shop:1", "x" * 1000]))
    gates = draw(st.sampled_from([[], [{"name": "lockgate.dev/migration"}]]))
    return {
        "metadata": {
            "name": f"app-{draw(st.integers(0, 99))}",
            "creationTimestamp": "2026-11-21T09:20:00Z",
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {"containers": [{"name": "app", "image": image}], "schedulingGates": gates},
    }


@st.composite
def observations(draw: st.DrawFn, before: dict[str, Any]) -> Any:
    """Draw what a pass may see, with ``before`` as the published status."""
    spec = draw(st.sampled_from([SPEC, OTHER])) | draw(st.sampled_from([{}, {"policy": {"downgrade": "Allow"}}]))
    meta = {"name": "shop", "namespace": "default", "uid": "uid-shop", "generation": 1, "creationTimestamp": CREATED}
    body = {"metadata": meta, "spec": spec, "status": before}
    migration = parse(body)
    created = (NOW - timedelta(minutes=draw(st.integers(0, 20)))).strftime("%Y-%m-%dT%H:%M:%SZ")
    state, kind = draw(st.sampled_from(["running", "waiting", *["terminated"] * 4])), ""
    if state == "terminated":
        kind = draw(st.sampled_from(["", "Complete", "Failed"]))
    ended = {"type": kind, "status": "True", "reason": "PodFailurePolicy", "lastTransitionTime": CREATED}
    labels = {"lockgate.dev/run-of": "shop", "lockgate.dev/run": migration.run_id}
    job = {
        "metadata": {
            "name": migration.job_name,
            "uid": "uid-job",
            "creationTimestamp": created,
            "labels": labels,
            "annotations": {"lockgate.dev/image": "shop:1", "lockgate.dev/database": migration.database.fingerprint},
            "ownerReferences": [{"uid": "uid-shop", "controller": True}],
        },
        "status": {"failed": draw(st.integers(0, 2)), "conditions": [ended] if kind else []},
    }
    report, detail = draw(reports), {"exitCode": 0, "finishedAt": created}
    detail |= {"exitCode": report.exit_code, "message": termination_message(report)}
    details = {"running": {}, "terminated": detail, "waiting": {"reason": "ErrImagePull"}}
    beside = draw(st.sampled_from([[], [{"name": "istio-proxy", "restartCount": 0, "state": {"running": {}}}]]))
    pod = {
        "metadata": {
            "name": "pod-1",
            "labels": labels | {"job-name": migration.job_name},
            "creationTimestamp": created,
        },
        "status": {
            "phase": draw(st.sampled_from(["Running", "Failed"])),
            "containerStatuses": [{"name": "migrate", "restartCount": 0, "state": {state: details[state]}}, *beside],
        },
    }
    printed = report_line(report) if state == "terminated" else progress_line(created, "step", draw(progresses))
    return observe(
        body,
        jobs=draw(mostly([job])),
        migration_pods=draw(mostly([pod])),
        app_pods=draw(st.lists(app_pods(), max_size=3)),
        logs=draw(mostly({"pod-1": printed})),
        refusal=draw(mostly("", "The Job is refused: " + "x" * 5000)),
        pod_refusals=draw(mostly({}, {migration.job_name: "forbidden: quota"})),
    )


@st.composite
def lives(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw the statuses of three passes, each of which has read the one before."""
    found: list[dict[str, Any]] = [{"observedGeneration": -1}]
    for _ in range(3):
        observation = draw(observations(found[-1]))
        outcomes = new_outcomes(observation, NOW)
        satisfied = satisfied_after(observation, outcomes, NOW)
        status = build_status(observation, outcomes, satisfied, decide(observation, outcomes, satisfied, NOW), NOW)
        found.append(draw(mostly(status, refused_status(observation, "x" * 5000, NOW))))
    return found[1:]
