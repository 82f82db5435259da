"""`lockgate-operator`: reads what it was told, logs in, and runs `lifecycle.Operator` until SIGTERM.

Exit codes: 0 ended on request; 1 an error, see the last log line; 2 wrong flags; 3 lost the Lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from datetime import datetime, timezone

from lockgate.api.cluster import Cluster
from lockgate.api.connection import ApiServer
from lockgate.api.events import Events
from lockgate.controller import Controller
from lockgate.errors import LockgateError
from lockgate.job.pod_template import Injection
from lockgate.process import log_format
from lockgate.process.lifecycle import Build, Operator, Reconciler
from lockgate.process.metrics import Metrics
from lockgate.process.settings import Settings, parse

__all__ = ["main", "serve"]

log = logging.getLogger(__name__)


async def serve(settings: Settings, build: Build) -> int:
    """Log in, run the operator with signals connected, and return the exit code; errors become one log line."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        server = await ApiServer.connect(settings.kubeconfig)
        try:
            return await Operator(settings, server, build).run(stop)
        finally:
            await server.close()
    except (LockgateError, OSError, RuntimeError) as error:
        log.error("Ending: %s", error)
        return 1


def main() -> None:
    """Entry point of `lockgate-operator`."""
    settings = parse(sys.argv[1:], os.environ)
    log_format.configure(settings.log_format, settings.log_level)
    sys.exit(asyncio.run(serve(settings, _controller)))


def _controller(cluster: Cluster, events: Events, metrics: Metrics, settings: Settings) -> Reconciler:
    return Controller(
        cluster,
        events=events,
        metrics=metrics,
        injection=Injection(
            image=settings.image, pull_policy=settings.image_pull_policy, resources=settings.runner_resources
        ),
        clock=lambda: datetime.now(timezone.utc),
    )
