"""One reconcile: gather, decide, publish, act, tell. Holds no state that matters: everything is read anew each time.

Order is what makes it right when it is killed anywhere:

1. The status is written before a Job is created, so Ready is False before any work starts.
2. The finalizer is there before the Job is.
3. Gates are opened after the status that says why has been written; a new pod is let in by that same status.
4. Events and figures come last and speak only of what has been written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from lockgate.acting import after_write, carry_out, is_hindered, open_gates
from lockgate.decide.decision import CreateJob, Decision, ReleaseFinalizer
from lockgate.decide.gate import AppPod, to_open
from lockgate.decide.observation import Observation
from lockgate.decide.outcomes import Outcome, new_outcomes
from lockgate.decide.plan import decide
from lockgate.decide.rules import WHILE_REFUSED
from lockgate.decide.status import build_status, differs_only_in_progress, refused_status, satisfied_after
from lockgate.decide.transitions import Note, events_for, gate_opened, pods_held, status_refused
from lockgate.errors import ClusterError, Forbidden, Invalid, Missing
from lockgate.gathering import gather
from lockgate.job.pod_template import Injection
from lockgate.port import DATABASE_MIGRATION, POD, ClusterPort, EventSink, MetricsSink, Object
from lockgate.resource import Migration

__all__ = ["Controller"]

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
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take the outside; ``clock`` returns an aware UTC time."""
        self._cluster, self._events, self._metrics = cluster, events, metrics
        self._injection, self._clock, self._sleep = injection, clock, sleep
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
        outcomes = new_outcomes(observation, now)
        satisfied = satisfied_after(observation, outcomes, now)
        decision = decide(observation, outcomes, satisfied, now)
        status = build_status(observation, outcomes, satisfied, decision, now)
        wait = self._pause(observation, status, now)
        try:
            seen = observation if wait else await self._publish(observation, outcomes, status, now)
        except (Invalid, Forbidden) as refusal:
            return await self._go_without_status(observation, decision, refusal, now)
        for action in decision.actions:
            seen = await carry_out(self._cluster, seen, action, self._injection, self._sleep)
            if isinstance(action, CreateJob) and is_hindered(seen):
                return await self._advance(seen)
        await self._open(observation.migration, to_open(observation.app_pods, satisfied))
        return min(filter(None, (wait, decision.requeue_after)), default=None)

    def _pause(self, observation: Observation, status: Object, now: datetime) -> float | None:
        """Return how long to wait before a write that only moves figures, because the last write has just been."""
        last = self._written.get((observation.migration.namespace, observation.migration.name))
        if last is None or status == observation.status or not differs_only_in_progress(observation.status, status):
            return None
        left = PROGRESS_INTERVAL - (now - last).total_seconds()
        return left if 0 < left <= PROGRESS_INTERVAL else None  # more than that: the clock was set back

    async def _publish(
        self, observation: Observation, outcomes: Sequence[Outcome], status: Object, now: datetime
    ) -> Observation:
        """Write the status unless it is what is there; then tell of the change. Return what is there now."""
        migration, before = observation.migration, observation.status
        if status != before:
            written = await self._cluster.apply_status(
                DATABASE_MIGRATION, migration.namespace, migration.name, _status_patch(migration, status)
            )
            self._written[migration.namespace, migration.name] = now
            observation = after_write(observation, written, status)
            await self._tell(migration, events_for(before, status))
            await self._tell_pods(observation.app_pods, pods_held(before, status), migration.namespace)
            for outcome in outcomes:
                self._metrics.run_finished(outcome=outcome.outcome, reason=outcome.reason, seconds=outcome.seconds)
        gate = {key: status["gate"][key] for key in ("held", "bypassed", "unguarded")}
        self._metrics.observed(migration.namespace, migration.name, phase=status["phase"], **gate)
        return observation

    async def _go_without_status(
        self, observation: Observation, decision: Decision, refusal: ClusterError, now: datetime
    ) -> float:
        """Tell of a status that the API server refuses, and do what must not depend on one.

        No Job is started or removed: nothing could say so. The finalizer goes when no Job is at work any more, and pods
        that the published record covers start.
        """
        migration, status = observation.migration, refused_status(observation, refusal.message, now)
        self._metrics.status_refused(refusal.reason)
        await self._tell(migration, (status_refused(status),))
        if status != observation.status:
            with suppress(Invalid, Forbidden):
                written = await self._cluster.apply_status(
                    DATABASE_MIGRATION, migration.namespace, migration.name, _status_patch(migration, status)
                )
                observation = after_write(observation, written, status)
        for action in decision.actions:
            if isinstance(action, ReleaseFinalizer):
                observation = await carry_out(self._cluster, observation, action, self._injection, self._sleep)
        await self._open(migration, to_open(observation.app_pods, satisfied_after(observation, (), now)))
        return WHILE_REFUSED

    async def _open(self, migration: Migration, pods: Sequence[AppPod]) -> None:
        if not pods:
            return
        opened, problem = await open_gates(self._cluster, migration.namespace, pods)
        if opened:
            self._metrics.gates_opened(opened)
            await self._tell(migration, (gate_opened(opened),))
        if problem is not None:
            raise problem

    async def _tell_pods(self, pods: Sequence[AppPod], notes: Mapping[str, Note], namespace: str) -> None:
        for pod in pods:
            if note := notes.get(pod.name):
                metadata = {"namespace": namespace, "name": pod.name, "uid": pod.uid}
                regarding = {"apiVersion": POD.api_version, "kind": POD.kind, "metadata": metadata}
                await self._events.emit(regarding, note.kind, note.reason, note.action, note.text)

    async def _tell(self, migration: Migration, notes: Sequence[Note]) -> None:
        regarding = {
            "apiVersion": DATABASE_MIGRATION.api_version,
            "kind": DATABASE_MIGRATION.kind,
            "metadata": {"namespace": migration.namespace, "name": migration.name, "uid": migration.uid},
        }
        for note in notes:
            await self._events.emit(regarding, note.kind, note.reason, note.action, note.text)


def _status_patch(migration: Migration, status: Object) -> Object:
    return {
        "apiVersion": DATABASE_MIGRATION.api_version,
        "kind": DATABASE_MIGRATION.kind,
        "metadata": {
            "name": migration.name,
            "namespace": migration.namespace,
            "resourceVersion": migration.resource_version,  # loses against whoever wrote in between
        },
        "status": status,
    }
