"""One reconcile: gather, decide, publish, act, tell. Holds no state that matters: everything is read anew each time.

Order is what makes it right when it is killed anywhere:

1. The status is written before a Job is created, so Ready is False before any work starts.
2. The finalizer is there before the Job is.
3. Gates are opened after the status that says why has been written; a new pod is let in by that same status.
4. Events and figures come last and speak only of what has been written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from lockgate.decision import Action, AddFinalizer, CreateJob, DeleteJob, ReleaseFinalizer
from lockgate.errors import AlreadyExists, Forbidden, Invalid, Missing
from lockgate.gate import AppPod, opening_patch, to_open
from lockgate.gathering import gather
from lockgate.manifests import build_job
from lockgate.observation import Observation
from lockgate.outcomes import Outcome, new_outcomes
from lockgate.plan import decide
from lockgate.pod_template import Injection
from lockgate.port import (
    DATABASE_MIGRATION,
    JOB,
    MERGE_PATCH,
    POD,
    STRATEGIC_MERGE_PATCH,
    ClusterPort,
    EventSink,
    MetricsSink,
    Object,
)
from lockgate.resource import FINALIZER, Migration
from lockgate.status import build_status, differs_only_in_progress, satisfied_after
from lockgate.transitions import Note, events_for, gate_opened
from lockgate.views import job_view
from lockgate.wording import one_line

__all__ = ["Controller"]

PATCHES_AT_ONCE = 10
PROGRESS_INTERVAL = 2.0
"""Seconds between two status writes of one resource that only move figures."""


class Controller:
    """Brings one resource after the other to where it should be."""

    def __init__(
        self,
        cluster: ClusterPort,
        *,
        events: EventSink,
        metrics: MetricsSink,
        injection: Injection,
        clock: Callable[[], datetime],
    ) -> None:
        """Take the outside; ``clock`` returns an aware UTC time."""
        self._cluster, self._events, self._metrics = cluster, events, metrics
        self._injection, self._clock = injection, clock
        self._written: dict[tuple[str, str], datetime] = {}

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Do what one resource needs now; return after how many seconds to come back, or None."""
        try:
            body = await self._cluster.get(DATABASE_MIGRATION, namespace, name)
        except Missing:
            self._written.pop((namespace, name), None)
            self._metrics.forgotten(namespace, name)
            return None
        return await self._advance(await gather(self._cluster, body))

    async def _advance(self, observation: Observation) -> float | None:
        now = self._clock()
        outcomes = new_outcomes(observation)
        satisfied = satisfied_after(observation, outcomes, now)
        decision = decide(observation, outcomes, now)
        status = build_status(observation, outcomes, satisfied, decision, now)
        seen = await self._publish(observation, outcomes, status, now)
        for action in decision.actions:
            seen = await self._act(seen, action)
            if seen.refusal or (isinstance(action, CreateJob) and seen.job is not None and not seen.job.owned):
                return await self._advance(seen)
        await self._open(observation, to_open(observation.app_pods, satisfied))
        return decision.requeue_after

    async def _publish(
        self, observation: Observation, outcomes: Sequence[Outcome], status: Object, now: datetime
    ) -> Observation:
        """Write the status unless it is what is there; then tell of the change. Return what is there now."""
        migration, before = observation.migration, observation.status
        if status != before and not self._too_soon(migration, before, status, now):
            metadata = {
                "name": migration.name,
                "namespace": migration.namespace,
                "resourceVersion": migration.resource_version,  # loses against whoever wrote in between
            }
            body = {
                "apiVersion": DATABASE_MIGRATION.api_version,
                "kind": DATABASE_MIGRATION.kind,
                "metadata": metadata,
                "status": status,
            }
            written = await self._cluster.apply_status(DATABASE_MIGRATION, migration.namespace, migration.name, body)
            self._written[migration.namespace, migration.name] = now
            observation = _newer(observation, written, status)
            await self._tell(migration, events_for(before, status))
            for outcome in outcomes:
                self._metrics.run_finished(outcome=outcome.outcome, reason=outcome.reason, seconds=outcome.seconds)
        gate = {key: status["gate"][key] for key in ("held", "bypassed", "unguarded")}
        self._metrics.observed(migration.namespace, migration.name, phase=status["phase"], **gate)
        return observation

    def _too_soon(
        self, migration: Migration, before: Mapping[str, Any], after: Mapping[str, Any], now: datetime
    ) -> bool:
        last = self._written.get((migration.namespace, migration.name))
        recent = last is not None and (now - last).total_seconds() < PROGRESS_INTERVAL
        return recent and differs_only_in_progress(before, after)

    async def _act(self, observation: Observation, action: Action) -> Observation:
        migration = observation.migration
        match action:
            case CreateJob():
                return await self._create_job(observation)
            case DeleteJob(name, uid, version):
                with suppress(Missing):
                    await self._cluster.delete(JOB, migration.namespace, name, uid=uid, resource_version=version)
            case AddFinalizer():
                return await self._set_finalizers(observation, (*migration.finalizers, FINALIZER))
            case ReleaseFinalizer():
                rest = tuple(name for name in migration.finalizers if name != FINALIZER)
                return await self._set_finalizers(observation, rest)
        return observation

    async def _create_job(self, observation: Observation) -> Observation:
        """Create the Job. Where that is refused, or the name is taken, return an observation that says so."""
        migration = observation.migration
        try:
            await self._cluster.create(JOB, migration.namespace, build_job(migration, self._injection))
        except AlreadyExists:
            try:
                there = await self._cluster.get(JOB, migration.namespace, migration.job_name)
            except Missing:
                return observation  # the next pass creates it
            return replace(observation, jobs=(*observation.jobs, job_view(there, owner=migration.uid)))
        except (Invalid, Forbidden) as error:
            return replace(observation, refusal=one_line(f"The Job is refused: {error.message}", 600))
        return observation

    async def _set_finalizers(self, observation: Observation, finalizers: tuple[str, ...]) -> Observation:
        migration = observation.migration
        metadata = {"finalizers": list(finalizers), "resourceVersion": migration.resource_version}
        try:
            body = await self._cluster.patch(
                DATABASE_MIGRATION,
                migration.namespace,
                migration.name,
                {"metadata": metadata},
                content_type=MERGE_PATCH,
            )
        except Missing:
            return observation
        return _newer(observation, body, observation.status)

    async def _open(self, observation: Observation, pods: Sequence[AppPod]) -> None:
        """Remove our gate from these pods, a few at a time; one that fails does not keep the others."""
        if not pods:
            return
        slots = asyncio.Semaphore(PATCHES_AT_ONCE)
        migration = observation.migration

        async def open_one(pod: AppPod) -> None:
            async with slots:
                await self._cluster.patch(
                    POD, migration.namespace, pod.name, opening_patch(pod), content_type=STRATEGIC_MERGE_PATCH
                )

        results = await asyncio.gather(*(open_one(pod) for pod in pods), return_exceptions=True)
        opened = sum(1 for result in results if not isinstance(result, BaseException))
        if opened:
            self._metrics.gates_opened(opened)
            await self._tell(migration, (gate_opened(opened),))
        problems = [r for r in results if isinstance(r, BaseException) and not isinstance(r, Missing)]
        if problems:
            raise problems[0]

    async def _tell(self, migration: Migration, notes: Sequence[Note]) -> None:
        regarding = {
            "apiVersion": DATABASE_MIGRATION.api_version,
            "kind": DATABASE_MIGRATION.kind,
            "metadata": {"namespace": migration.namespace, "name": migration.name, "uid": migration.uid},
        }
        for note in notes:
            await self._events.emit(regarding, note.kind, note.reason, note.action, note.text)


def _newer(observation: Observation, body: Object, status: Mapping[str, Any]) -> Observation:
    """Return the observation with the version and finalizers that a write of ours has led to."""
    meta = body["metadata"]
    migration = replace(
        observation.migration,
        resource_version=meta.get("resourceVersion", ""),
        finalizers=tuple(meta.get("finalizers") or ()),
    )
    return replace(observation, migration=migration, status=status)
