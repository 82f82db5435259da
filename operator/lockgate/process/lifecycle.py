"""One operator from its start to its end.

At the start: listen for probes, wait until the API server, the CRD and the rights are there, wait for the Lease, then
watch and reconcile. At the end: take no more keys, finish what runs, give the Lease back.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Protocol

from lockgate import __version__
from lockgate.api.cluster import DATABASE_MIGRATION, Cluster
from lockgate.api.connection import ApiServer
from lockgate.api.events import Events
from lockgate.process.access import Access
from lockgate.process.health import HealthServer
from lockgate.process.leader_election import LeaderElection
from lockgate.process.metrics import Metrics
from lockgate.process.schedule import Key
from lockgate.process.settings import Settings
from lockgate.process.watch import Watch
from lockgate.process.work_queue import WorkQueue

__all__ = ["LOST_THE_LEASE", "Build", "Operator", "Reconciler"]

log = logging.getLogger(__name__)

LOST_THE_LEASE = 3
DRAIN_SECONDS = 20.0
"""For running reconciles to end after SIGTERM; less than a pod's usual grace period of 30 s."""
STUCK_SECONDS = 600.0


class Reconciler(Protocol):
    """What does the work; see `lockgate.controller`."""

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Look after one resource; return after how many seconds to look again, or None."""
        ...


Build = Callable[[Cluster, Events, Metrics, Settings], Reconciler]


class Operator:
    """The whole operator, once."""

    def __init__(self, settings: Settings, server: ApiServer, build: Build) -> None:
        self._settings, self._server = settings, server
        self._cluster = Cluster(server)
        self._metrics = Metrics()
        events = Events(self._cluster, instance=settings.pod_name)
        controller = build(self._cluster, events, self._metrics, settings)
        self._queue = WorkQueue(controller.reconcile, sink=self._metrics, workers=settings.workers)
        self._metrics.queue_depth(lambda: self._queue.depth)
        self._watch = Watch(
            login=server.credentials, changed=self._queue.add_from_thread, namespaces=settings.namespaces
        )
        self._working = False
        self._access = Access(self._cluster, settings.namespaces)
        self._election = _election(self._cluster, settings) if settings.leader_election else None

    async def run(self, stop: asyncio.Event) -> int:
        """Run until ``stop`` or until it cannot go on; return the exit code."""
        health = HealthServer(
            live={"watch": self._watch_problem, "queue": self._queue_problem},
            ready={
                "access": self._access.missing,
                "API server": self._access.unreachable,
                "Lease": lambda: self._election.problem if self._election else None,
            },
            metrics=self._metrics.text,
        )
        port = await health.start(self._settings.host, self._settings.port)
        log.info("Lockgate %s: listening on port %d, API server %s", __version__, port, self._server.address)
        reach, work = asyncio.create_task(self._access.keep_asking()), asyncio.create_task(self._work())
        asked = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            log.info("Asked to end")
            return 0
        finally:
            await _cancel(asked, work, reach)
            await health.close()

    async def _work(self) -> int:
        await self._access.wait()
        election = self._election
        if election is None:
            return await self._lead(None)
        lost = False
        try:
            await election.acquire()
            code = await self._lead(election)
            lost = code == LOST_THE_LEASE
            return code
        finally:
            if not lost:
                await election.release()

    async def _lead(self, election: LeaderElection | None) -> int:
        """Do the work until cancelled, or until the Lease is lost."""
        hold = asyncio.create_task(election.hold()) if election else None
        tasks = [asyncio.create_task(self._queue.run()), asyncio.create_task(self._queue.resync(self._all))]
        self._watch.start()
        ended = asyncio.create_task(self._watch.ended())
        self._working = True
        self._metrics.leading(True)
        log.info("Working in %s", ", ".join(self._settings.namespaces) or "all namespaces")
        lost = False
        try:
            done, _ = await asyncio.wait(
                {*tasks, ended, *([hold] if hold else [])}, return_when=asyncio.FIRST_COMPLETED
            )
            if hold in done:
                lost = True
                log.error("Lost the Lease: %s", hold.result() if hold else "")
                return LOST_THE_LEASE
            for task in done:
                task.result()
            return 1
        finally:
            self._working = False
            self._watch.stop()
            await _cancel(*tasks)
            await self._queue.drain(0 if lost else DRAIN_SECONDS)  # under the Lease, unless it is gone
            await _cancel(*([hold] if hold else []))
            self._metrics.leading(False)
            await asyncio.wait({ended}, timeout=5)
            await _cancel(ended)

    async def _all(self) -> list[Key]:
        found = []
        for namespace in self._settings.namespaces or (None,):
            found += await self._cluster.list(DATABASE_MIGRATION, namespace)
        return [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in found]

    def _watch_problem(self) -> str | None:
        return "the thread has ended" if self._working and not self._watch.alive else None

    def _queue_problem(self) -> str | None:
        stuck = self._queue.stuck_seconds
        return f"no reconcile has ended for {stuck:.0f} s" if stuck > STUCK_SECONDS else None


def _election(cluster: Cluster, settings: Settings) -> LeaderElection:
    return LeaderElection(
        cluster,
        namespace=settings.pod_namespace,
        name=settings.lease_name,
        # A pod's name is not enough: its container may be restarted.
        identity=f"{settings.pod_name}_{uuid.uuid4().hex[:8]}",
    )


async def _cancel(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
