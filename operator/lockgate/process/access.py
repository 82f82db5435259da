"""Is there what the operator needs: an API server that answers, the CRD, the right to list? Waits instead of crashing.

An operator that ends because its CRD is not installed yet is restarted ever more rarely; one that waits is there within
seconds, and says until then, in /readyz and its log, what is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from lockgate.errors import LockgateError
from lockgate.port import DATABASE_MIGRATION, JOB, POD, Kind

__all__ = ["Access", "AccessPort"]

log = logging.getLogger(__name__)

LOOK_AGAIN = 5.0
ASK_AGAIN = 10.0
UNREACHABLE = 35.0
"""Seconds without an answer after which the operator no longer calls itself ready: three questions."""


class AccessPort(Protocol):
    """What of the cluster is asked here."""

    async def check_access(self, kind: Kind, namespace: str | None) -> None:
        """Raise a ClusterError unless objects of this kind can be listed."""
        ...

    async def ping(self) -> None:
        """Raise a ClusterError unless the API server answers."""
        ...


class Access:
    """What is known about it; `missing` and `unreachable` are checks for `lockgate.process.health`."""

    def __init__(
        self,
        cluster: AccessPort,
        namespaces: Collection[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``namespaces``: none means all."""
        self._cluster, self._namespaces = cluster, tuple(namespaces)
        self._clock, self._sleep = clock, sleep
        self._missing: str | None = "not looked yet"
        self._answered: float | None = None

    async def wait(self) -> None:
        """Return when everything can be listed that has to be watched."""
        while missing := await self._look():
            if self._missing != missing:
                log.warning("Waiting, and looking again every %g s. %s", LOOK_AGAIN, missing)
            self._missing = missing
            await self._sleep(LOOK_AGAIN)
        self._missing = None

    async def keep_asking(self) -> None:
        """Ask the API server every ten seconds, until cancelled."""
        while True:
            with contextlib.suppress(LockgateError):
                await self._cluster.ping()
                self._answered = self._clock()
            await self._sleep(ASK_AGAIN)

    def missing(self) -> str | None:
        """Say what `wait` waits for."""
        return self._missing

    def unreachable(self) -> str | None:
        """Say for how long the API server has not answered."""
        if self._answered is None:
            return "not reached yet"
        silent = self._clock() - self._answered
        return f"not reached for {silent:.0f} s" if silent > UNREACHABLE else None

    async def _look(self) -> str | None:
        try:
            for namespace in self._namespaces or (None,):
                for kind in (DATABASE_MIGRATION, JOB, POD):
                    await self._cluster.check_access(kind, namespace)
        except LockgateError as error:
            return str(error)
        return None
