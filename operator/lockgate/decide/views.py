"""Jobs and migration pods, reduced to what decisions need."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from lockgate.decide.wording import one_line
from lockgate.resource import GROUP

__all__ = [
    "DATABASE",
    "EPOCH",
    "IMAGE",
    "INJECTOR",
    "MIGRATE",
    "RUN",
    "RUN_OF",
    "ContainerView",
    "JobView",
    "PodView",
    "job_view",
    "last_seen",
    "pod_refusal",
    "pod_view",
    "timestamp",
]

MIGRATE = "migrate"
"""The container that migrates."""
INJECTOR = "lockgate"
"""The init container that brings the runner."""
RUN_OF = f"{GROUP}/run-of"
RUN = f"{GROUP}/run"
IMAGE = f"{GROUP}/image"
DATABASE = f"{GROUP}/database"
NAMED_POD = re.compile(r'pods? "[^"]*" ')
EPOCH = datetime.fromtimestamp(0, timezone.utc)


@dataclass(frozen=True, slots=True)
class JobView:
    """A Job of some run of the resource."""

    name: str
    uid: str
    resource_version: str
    run_id: str
    image: str
    database: str
    """Fingerprint of the ``spec.database`` that it works on."""
    created: datetime
    owned: bool
    """False for a Job whose owner is another resource, for example a deleted one of the same name."""
    failed: int
    """Pods that failed and count against the retry limit."""
    succeeded: int
    complete: bool
    failure: str | None
    """The reason of the condition Failed (BackoffLimitExceeded, DeadlineExceeded, PodFailurePolicy...), or None."""
    ended: datetime | None

    @property
    def active(self) -> bool:
        """True until all pods have ended: Complete and Failed are only set when they have."""
        return not self.complete and self.failure is None


@dataclass(frozen=True, slots=True)
class ContainerView:
    """One container's state; ``reason`` and ``message`` are the kubelet's words."""

    name: str
    waiting: bool
    running: bool
    terminated: bool
    restarted: bool
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    started: datetime | None = None
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod of a migration Job."""

    name: str
    job: str
    run_id: str
    created: datetime
    phase: str
    reason: str
    message: str
    """With ``reason``, the kubelet's words about the whole pod: evicted, or a deadline of its own has passed."""
    deleting: bool
    disruption: str
    """Why the cluster ends the pod (drain, preemption, eviction), else empty."""
    unschedulable: str
    """The scheduler's words while it finds no node, else empty."""
    migrate: ContainerView | None
    others: tuple[ContainerView, ...]
    """Init containers (sidecars among them), in order."""
    beside: tuple[ContainerView, ...] = ()
    """Plain containers beside the one that migrates. The operator builds none: an injector has added them."""

    @property
    def ended(self) -> bool:
        """True when nothing of it runs any more."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def exit_code(self) -> int | None:
        """How the container that migrates ended; its pod may take a moment longer, and the Job another one."""
        return self.migrate.exit_code if self.migrate is not None and self.migrate.terminated else None

    @property
    def kept_by(self) -> tuple[str, ...]:
        """Names of the containers that keep the pod from ending although the one that migrates has ended."""
        if self.ended or self.migrate is None or not self.migrate.terminated:
            return ()
        return tuple(container.name for container in self.beside if not container.terminated)

    @property
    def failed_by(self) -> tuple[str, ...]:
        """Names of the containers that failed the pod although the one that migrates had ended well."""
        if self.phase != "Failed" or self.exit_code != 0:
            return ()
        return tuple(container.name for container in self.beside if container.exit_code)

    @property
    def has_started(self) -> bool:
        """True when the container that migrates ran, or may have.

        A container whose image has no such program ends with the reason StartError; it never ran, yet it counts as
        started, because its Job has failed for good then.
        """
        return self.migrate is not None and (not self.migrate.waiting or self.migrate.restarted)


def job_view(body: Mapping[str, Any], *, owner: str) -> JobView:
    """Reduce a Job; ``owner`` is the uid of the resource that should own it."""
    meta, status = body["metadata"], body.get("status") or {}
    annotations = meta.get("annotations") or {}
    failed = _condition(status, "Failed")
    done = _condition(status, "Complete")
    owners = [ref.get("uid") for ref in meta.get("ownerReferences") or () if ref.get("controller")]
    finish = failed or done or {}
    return JobView(
        name=meta["name"],
        uid=meta.get("uid", ""),
        resource_version=meta.get("resourceVersion", ""),
        run_id=(meta.get("labels") or {}).get(RUN, ""),
        image=annotations.get(IMAGE, ""),
        database=annotations.get(DATABASE, ""),
        created=timestamp(meta.get("creationTimestamp")) or EPOCH,
        owned=owner in owners,
        failed=status.get("failed") or 0,
        succeeded=status.get("succeeded") or 0,
        complete=done is not None,
        failure=None if failed is None else failed.get("reason") or "Failed",
        ended=timestamp(finish.get("lastTransitionTime")),
    )


def pod_view(body: Mapping[str, Any]) -> PodView:
    """Reduce a pod of a migration Job."""
    meta, status = body["metadata"], body.get("status") or {}
    labels = meta.get("labels") or {}
    placed: Mapping[str, Any] = next((c for c in status.get("conditions") or () if c.get("type") == "PodScheduled"), {})
    unplaced = placed.get("status") == "False" and placed.get("reason") == "Unschedulable"
    mains = _containers(status.get("containerStatuses"))
    disrupted = _condition(status, "DisruptionTarget")
    return PodView(
        name=meta["name"],
        job=labels.get("batch.kubernetes.io/job-name") or labels.get("job-name", ""),
        run_id=labels.get(RUN, ""),
        created=timestamp(meta.get("creationTimestamp")) or EPOCH,
        phase=status.get("phase", "Pending"),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        deleting="deletionTimestamp" in meta,
        disruption="" if disrupted is None else disrupted.get("message") or disrupted.get("reason") or "disrupted",
        unschedulable=placed.get("message", "") or "Unschedulable" if unplaced else "",
        migrate=next((c for c in mains if c.name == MIGRATE), None),
        others=_containers(status.get("initContainerStatuses")),
        beside=tuple(c for c in mains if c.name != MIGRATE),
    )


def last_seen(event: Mapping[str, Any]) -> datetime:
    """Return when an event was last observed, whichever of the two APIs it was posted with."""
    times = (
        (event.get("series") or {}).get("lastObservedTime"),
        event.get("deprecatedLastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )
    return max((when for when in map(timestamp, times) if when is not None), default=EPOCH)


def pod_refusal(note: str) -> str:
    """Return the Job controller's words without the pod's name, which is another one at each try."""
    return one_line(NAMED_POD.sub("the pod ", note.removeprefix("Error creating: ")), 500)


def timestamp(text: str | None) -> datetime | None:
    """Read an RFC 3339 time as Kubernetes writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    conditions: Sequence[Mapping[str, Any]] = status.get("conditions") or ()
    return next((c for c in conditions if c.get("type") == kind and c.get("status") == "True"), None)


def _containers(statuses: Sequence[Mapping[str, Any]] | None) -> tuple[ContainerView, ...]:
    return tuple(_container(status) for status in statuses or ())


def _container(status: Mapping[str, Any]) -> ContainerView:
    state = status.get("state") or {}
    kind = next((name for name in ("terminated", "running", "waiting") if name in state), "waiting")
    detail = state.get(kind) or {}
    return ContainerView(
        name=status["name"],
        waiting=kind == "waiting",
        running=kind == "running",
        terminated=kind == "terminated",
        restarted=bool(status.get("restartCount")) or bool(status.get("lastState")),
        reason=detail.get("reason", ""),
        message=detail.get("message", ""),
        exit_code=detail.get("exitCode"),
        started=timestamp(detail.get("startedAt")),
        ended=timestamp(detail.get("finishedAt")),
    )
