"""Which pods may start: what a pod wants, whether the database has it, and how that adds up. Pure.

The admission policies in the chart decide the same for a pod that is being created. This module decides it for pods
that are held already, and looks at the ones that run.

Which pods count as *unguarded*: those that carry the label, run or are about to, and that nobody held although they are
not covered. That says "admitted while no policy was at work", so pods that were rightly admitted must not be among
them:

* A pod that was covered once stays covered: revisions are only added, and an image that a present pod wants is never
  dropped from the record (`lockgate.decide.satisfied`).
* When ``spec.database`` changes, or a resource is deleted and created again, the record starts anew. Pods created
  before ``status.satisfied.since`` were judged by the older record, and are not judged again.
* What a run takes back starts the record anew for the same cause.
* The policy marks each pod that it has looked at. One that it has held, and that runs uncovered, was freed by a person.
* Helm creates the Deployment a moment before the resource, and exactly then a missing policy must be noticed. That is
  why ``since`` of a new resource lies `lockgate.decide.satisfied.ADOPTION` before its creation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lockgate.decide.satisfied import Satisfied, Want
from lockgate.decide.views import EPOCH, timestamp
from lockgate.decide.wording import one_line, plural, summary
from lockgate.resource import GROUP

__all__ = [
    "GATE",
    "MAX_STRANGERS",
    "MIGRATION",
    "SETTLED",
    "AppPod",
    "GateCounts",
    "app_pod",
    "count",
    "held_back",
    "opening_patch",
    "strangers",
    "to_open",
]

MIGRATION = f"{GROUP}/migration"
"""The label by which a pod names the resource it waits for."""
GATE = f"{GROUP}/migration"
"""The scheduling gate."""
GATED = f"{GROUP}/gated"
COVERED_BY = f"{GROUP}/covered-by"
"""Annotations that the admission policies write (`charts/lockgate/templates/gate.yaml`)."""
SETTLED = timedelta(seconds=10)
"""The age at which a held pod is no longer taken for the first of a rollout that the resource hears of next."""
MAX_STRANGERS = 10


@dataclass(frozen=True, slots=True)
class AppPod:
    """A pod that names a resource."""

    name: str
    uid: str
    created: datetime
    want: Want
    held: bool
    bypassed: bool
    gone: bool
    """It has ended or is being deleted."""
    gated: bool = False
    """The admission policy was at work when it was created, and has held it."""
    admitted: bool = False
    """The admission policy was at work when it was created, and has found it covered."""


@dataclass(frozen=True, slots=True)
class GateCounts:
    """The figures of ``status.gate``: pods that are there now."""

    held: int = 0
    opened: int = 0
    bypassed: int = 0
    unguarded: int = 0


def app_pod(body: Mapping[str, Any]) -> AppPod:
    """Reduce a pod to what the gate needs."""
    meta, spec = body["metadata"], body.get("spec") or {}
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    return AppPod(
        name=meta["name"],
        uid=meta.get("uid", ""),
        created=timestamp(meta.get("creationTimestamp")) or EPOCH,
        want=Want(
            revision=labels.get(f"{GROUP}/revision", ""),
            image=annotations.get(f"{GROUP}/migration-image", ""),
            own_images=tuple(container["image"] for container in spec.get("containers") or () if "image" in container),
        ),
        held=any(gate.get("name") == GATE for gate in spec.get("schedulingGates") or ()),
        bypassed=bool(annotations.get(f"{GROUP}/bypass")),
        gated=GATED in annotations,
        admitted=COVERED_BY in annotations,
        gone="deletionTimestamp" in meta or (body.get("status") or {}).get("phase") in ("Succeeded", "Failed"),
    )


def strangers(pods: Iterable[AppPod], satisfied: Satisfied, *, expected: str, now: datetime) -> tuple[AppPod, ...]:
    """Return the held pods that nothing on its way will free, in the order of their names.

    ``expected`` is the image of the run on its way (empty: none is). A pod may come a moment before the resource learns
    of its image, so a new one is not among them. Which revisions a run leads to is known when it has ended.
    """
    return tuple(
        pod
        for pod in sorted(pods, key=lambda pod: pod.name)
        if pod.held and not (pod.gone or pod.bypassed or satisfied.covers(pod.want))
        if now - pod.created >= SETTLED
        if not expected or (pod.want.images and expected not in pod.want.images)
    )


def held_back(pods: Sequence[AppPod], satisfied: Satisfied) -> str:
    """Say of pods that nothing will free what they want and what there is; nothing where there are none."""
    if not pods:
        return ""
    many = f" {plural(len(pods) - 1, 'further pod')} of this kind." if len(pods) > 1 else ""
    there = f"revision {summary(satisfied.revisions[:1])}" if pods[0].want.revision else satisfied.words
    return one_line(f"Pod {pods[0].name} is held: it wants {pods[0].want.words}, and there is {there}.{many}", 600)


def to_open(pods: Iterable[AppPod], satisfied: Satisfied) -> tuple[AppPod, ...]:
    """Return the held pods whose gate has no reason to be there any more."""
    return tuple(pod for pod in pods if pod.held and not pod.gone and (pod.bypassed or satisfied.covers(pod.want)))


def opening_patch(pod: AppPod) -> dict[str, Any]:
    """Build the strategic merge patch that removes our gate, and no other, from exactly this pod."""
    return {"metadata": {"uid": pod.uid}, "spec": {"schedulingGates": [{"name": GATE, "$patch": "delete"}]}}


def count(pods: Iterable[AppPod], satisfied: Satisfied) -> GateCounts:
    """Count the present pods by how they relate to the gate; a bypassed pod counts as nothing else.

    A pod that the policy has held, and that runs uncovered, was freed by a person, which is a bypass too.
    """
    held = opened = bypassed = unguarded = 0
    for pod in pods:
        if pod.gone:
            continue
        covered = satisfied.covers(pod.want)
        judged = pod.created >= satisfied.since
        loose = judged and not (covered or pod.held or pod.bypassed or pod.admitted)
        bypassed += pod.bypassed or (loose and pod.gated)
        held += pod.held and not pod.bypassed
        opened += covered and not pod.held and not pod.bypassed
        unguarded += loose and not pod.gated
    return GateCounts(held, opened, bypassed, unguarded)
