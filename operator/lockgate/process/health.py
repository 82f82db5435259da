"""HTTP for the kubelet and Prometheus: /healthz, /readyz and /metrics on one port.

A check returns None, or a sentence about what is wrong. The server runs in the operator's own event loop: one that no
longer turns does not answer, which is what the kubelet's time-out is for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from aiohttp import web

from lockgate.process.metrics import CONTENT_TYPE

__all__ = ["Check", "HealthServer"]

log = logging.getLogger(__name__)

Check = Callable[[], str | None]


class HealthServer:
    """Answers until `close`."""

    def __init__(self, *, live: Mapping[str, Check], ready: Mapping[str, Check], metrics: Callable[[], bytes]) -> None:
        """``live``: what only a restart can cure. ``ready``: what else has to be in order. Names go into the answer."""
        self._live, self._ready, self._metrics = live, ready, metrics
        self._said: dict[str, str] = {}
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._scrape)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port (for 0 the one that was free). OSError where it is taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        bound: int = self._runner.addresses[0][1]
        return bound

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return self._answer("/healthz", self._live)

    async def _readyz(self, _: web.Request) -> web.Response:
        return self._answer("/readyz", {**self._live, **self._ready})

    async def _scrape(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": CONTENT_TYPE})

    def _answer(self, path: str, checks: Mapping[str, Check]) -> web.Response:
        wrong = [f"{name}: {problem}" for name, check in checks.items() if (problem := check())]
        text = "\n".join(wrong) or "ok"
        if text != self._said.get(path, "ok"):  # a line in the log when it changes, not with every probe
            log.log(logging.WARNING if wrong else logging.INFO, "%s now answers: %s", path, text.replace("\n", "; "))
        self._said[path] = text
        return web.Response(text=text + "\n", status=503 if wrong else 200)
