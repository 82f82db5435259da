"""Which of several operators works: the one that holds a Lease.

The rules are client-go's. A Lease that has not changed for its whole duration, by *our own* monotonic clock, is up for
grabs, so that clocks of two machines are never compared. Every write carries the resourceVersion that was read: of two
that grab at once one gets a Conflict. Who cannot renew until the renew deadline stops working well before another may
start, also when it is the API call that hangs.

The client library's own elector is not used: its asyncio one cannot create the Lease, and no variant bounds a hung
call. All this keeps two operators from doing the same work; what keeps two migrations apart is the database's lock.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from typing import Protocol

from lockgate.errors import AlreadyExists, ClusterError, Conflict, Missing
from lockgate.port import LEASE, Kind, Object

__all__ = ["LeaderElection", "LeasePort", "LeaseTimes"]

log = logging.getLogger(__name__)


class LeasePort(Protocol):
    """What of the cluster a Lease needs."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object, or raise Missing."""
        ...

    async def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Create an object, or raise AlreadyExists."""
        ...

    async def replace(self, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        """Replace an object, or raise Conflict."""
        ...


class LeaseTimes:
    """Seconds, as client-go's defaults: ``duration`` > ``deadline`` > ``retry``."""

    def __init__(self, duration: float = 15.0, deadline: float = 10.0, retry: float = 2.0) -> None:
        """Check that a holder gives up before another one may take over."""
        if not duration > deadline > retry > 0:
            raise ValueError("A Lease needs duration > deadline > retry > 0")
        self.duration, self.deadline, self.retry = duration, deadline, retry


class LeaderElection:
    """One candidate. Call `acquire`, then `hold` until it returns (lost) or is cancelled, then `release`."""

    def __init__(
        self,
        cluster: LeasePort,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``identity`` must differ between two processes, also between two of the same pod."""
        self._cluster, self._namespace, self._name, self.identity = cluster, namespace, name, identity
        self._times = times or LeaseTimes()
        self._clock, self._today, self._sleep, self._jitter = clock, today, sleep, jitter
        self.problem: str | None = None
        """Why the Lease cannot even be asked for; a missing right is one that nobody would notice otherwise."""
        self._seen: Object | None = None
        self._seen_at = 0.0
        self._renewed_at = 0.0

    async def acquire(self) -> None:
        """Wait until the Lease is ours; errors of the API server are logged and waited out."""
        said = ""
        while True:
            try:
                ours = await self._try()
                self.problem = None
                if ours:
                    log.info("Lease %s/%s is ours (%s)", self._namespace, self._name, self.identity)
                    return
                news = f"Standing by: {(self._seen or {}).get('holderIdentity')} holds the Lease"
            except ClusterError as error:
                self.problem = str(error)
                news = f"Cannot acquire the Lease. {error}"
            if news != said:
                log.info("%s", news)
                said = news
            await self._sleep(self._times.retry * (1 + 0.2 * self._jitter()))

    async def hold(self) -> str:
        """Renew the Lease; return why it is lost as soon as it is: taken by another, or not renewed in time."""
        why = "no answer from the API server"
        while True:
            await self._sleep(self._times.retry)
            left = self._renewed_at + self._times.deadline - self._clock()
            if left <= 0:
                return f"it was not renewed for {self._times.deadline:g} s: {why}"
            try:
                async with asyncio.timeout(left):
                    ours = await self._try()
            except (ClusterError, TimeoutError) as error:
                why = str(error) or "no answer from the API server"
                continue
            if not ours:
                return f"{(self._seen or {}).get('holderIdentity') or 'nobody'} holds it now"

    async def release(self) -> None:
        """Let another one take over at once. Tries once; who fails here leaves the Lease to expire."""
        try:
            async with asyncio.timeout(self._times.retry):
                lease = await self._cluster.get(LEASE, self._namespace, self._name)
                if lease["spec"].get("holderIdentity") != self.identity:
                    return
                # A duration of a second, as client-go does: a holder that does not exist cannot be waited for.
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._micro_time()}
                await self._cluster.replace(LEASE, self._namespace, self._name, lease)
                log.info("Lease %s/%s released", self._namespace, self._name)
        except (ClusterError, TimeoutError) as error:
            why = str(error) or "No answer from the API server."
            log.warning("Cannot release the Lease, it expires in %g s. %s", self._times.duration, why)

    async def _try(self) -> bool:
        """Read the Lease and, if it may be ours, write it. Return whether it is ours."""
        began = self._clock()
        try:
            lease = await self._cluster.get(LEASE, self._namespace, self._name)
            self._observe(lease["spec"])
            if not self._may_take(lease["spec"]):
                return False
            lease["spec"] = self._claim(lease["spec"])
            lease = await self._cluster.replace(LEASE, self._namespace, self._name, lease)
        except Missing:
            body = {
                "apiVersion": LEASE.api_version,
                "kind": LEASE.kind,
                "metadata": {"name": self._name},
                "spec": self._claim({}),
            }
            try:
                lease = await self._cluster.create(LEASE, self._namespace, body)
            except AlreadyExists:
                return False
        except Conflict:  # somebody wrote in between; whether it was a claim shows at the next look
            if (self._seen or {}).get("holderIdentity") == self.identity:
                raise
            return False
        self._observe(lease["spec"])
        self._renewed_at = began
        return True

    def _observe(self, spec: Object) -> None:
        if spec != self._seen:
            self._seen, self._seen_at = dict(spec), self._clock()

    def _may_take(self, spec: Object) -> bool:
        holder = spec.get("holderIdentity")
        if not holder or holder == self.identity:
            return True
        # What it says, not what we would use: the holder may run with other times.
        return self._clock() >= self._seen_at + float(spec.get("leaseDurationSeconds") or self._times.duration)

    def _claim(self, spec: Object) -> Object:
        now = self._micro_time()
        ours = spec.get("holderIdentity") == self.identity
        taken = spec if ours else spec | {"acquireTime": now, "leaseTransitions": _transitions(spec)}
        return taken | {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": round(self._times.duration),
            "renewTime": now,
        }

    def _micro_time(self) -> str:
        return self._today().astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _transitions(spec: Object) -> int:
    """Count a change of hands; the first holder is none."""
    return int(spec.get("leaseTransitions") or 0) + 1 if "acquireTime" in spec else 0
