"""Tells the work queue that something changed, by kopf's watches.

They survive disconnects, expired versions and silent streams; nothing else of kopf is used. A handler for raw events
keeps no state, so kopf writes nothing: no annotation, no finalizer, no event. The handlers only put keys into the
queue, since kopf never repeats one that fails.

kopf runs in threads with a loop each: on its way out it cancels every task of its loop that is new to it. There are
two, because one watches a resource only once, with one selector, and there are two sorts of pods: those that wait for a
schema and those that migrate. Two selective streams are cheaper than all pods of the cluster.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

import kopf

from lockgate.api.connection import Credentials
from lockgate.process.schedule import Key

__all__ = ["STREAMS", "Stream", "Watch"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stream:
    """One resource to watch; ``label`` names the DatabaseMigration that an object belongs to ("": it is one itself)."""

    group: str
    version: str
    plural: str
    label: str = ""

    def key(self, metadata: Any) -> Key | None:
        """Return the key that a change of this object concerns."""
        name = (metadata.get("labels") or {}).get(self.label) if self.label else metadata["name"]
        return (metadata["namespace"], name) if name else None


STREAMS = (
    (
        Stream("lockgate.dev", "v1alpha1", "databasemigrations"),
        Stream("batch", "v1", "jobs", "lockgate.dev/run-of"),
        Stream("", "v1", "pods", "lockgate.dev/migration"),
    ),
    (Stream("", "v1", "pods", "lockgate.dev/run-of"),),
)
"""One tuple per thread; no resource occurs twice in one."""


class Watch:
    """Watches until `stop`, or until kopf gives up, which `ended` reports."""

    def __init__(
        self,
        *,
        login: Callable[[], Awaitable[Credentials]],
        changed: Callable[[Key], None],
        namespaces: Collection[str] = (),
        streams: Collection[Collection[Stream]] = STREAMS,
    ) -> None:
        """Take ``changed``, to be called in a thread of the watch, and namespaces (none: all)."""
        self._login, self._changed, self._namespaces = login, changed, tuple(namespaces)
        self._stop = threading.Event()
        self._over: asyncio.Future[None] | None = None
        self._ended = 0
        self._threads = [
            threading.Thread(target=self._main, args=(part,), name=f"watch-{number}", daemon=True)
            for number, part in enumerate(streams)
        ]

    def start(self) -> None:
        """Start the threads; call it in the loop that will await `ended`."""
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether all of it runs."""
        return all(thread.is_alive() for thread in self._threads)

    async def ended(self) -> None:
        """Wait for the watch to end. Raises what ended it, and nothing if that was `stop`."""
        if self._over is None:
            raise RuntimeError("The watch was not started")
        await asyncio.shield(self._over)

    def stop(self) -> None:
        """Ask the watch to end."""
        self._stop.set()

    def _main(self, streams: Collection[Stream]) -> None:
        problem: BaseException | None = None
        try:
            asyncio.run(self._operator(streams))
        except BaseException as error:
            problem = error
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._report, problem)

    def _report(self, problem: BaseException | None) -> None:
        """Remember the first problem; without one, that all has ended."""
        if self._over is None or self._over.done():
            return
        if problem is not None:
            self._over.set_exception(RuntimeError(f"The watch ended: {type(problem).__name__}: {problem}"))
        self._ended += 1
        if self._ended == len(self._threads) and not self._over.done():
            self._over.set_result(None)

    async def _operator(self, streams: Collection[Stream]) -> None:
        asyncio.get_running_loop().set_exception_handler(_left_behind)
        where: dict[str, Any] = {"namespaces": self._namespaces} if self._namespaces else {"clusterwide": True}
        # kopf's own identity contains the user's name, and the user of a container has none: it would not start.
        where["identity"] = "lockgate"
        try:
            await kopf.operator(
                registry=self._registry(streams),
                settings=_settings(streams),
                standalone=True,
                stop_flag=self._stop,
                **where,
            )
            if not self._stop.is_set():
                raise RuntimeError("kopf ended without an error")
        finally:
            self._stop.set()  # ends the other part, and a thread of this loop's executor that the loop waits for

    def _registry(self, streams: Collection[Stream]) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            known = await self._login()
            return kopf.ConnectionInfo(
                server=known.server,
                ca_path=known.ca_path,
                token=known.token,
                certificate_path=known.certificate_path,
                private_key_path=known.private_key_path,
                insecure=known.insecure,
            )

        def follow(stream: Stream) -> None:
            @kopf.on.event(stream.group, stream.version, stream.plural, registry=registry)
            async def enqueue(body: kopf.Body, **_: Any) -> None:
                key = stream.key(body["metadata"])
                if key:
                    self._changed(key)

        for stream in streams:
            follow(stream)
        return registry


def _settings(streams: Collection[Stream]) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True  # needs no right to list namespaces and CRDs
    settings.process.ultimate_exiting_timeout = None  # would kill the whole process
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = (1, 1, 2, 3, *[5] * 12)  # a minute and more, but back within 5 s of the server
    for stream in streams:
        if stream.label:
            settings.watching.label_selectors[stream.group, stream.version, stream.plural] = stream.label
    return settings


def _left_behind(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log in one line what kopf's tasks leave behind when it ends; `ended` has already told the cause."""
    problem = context.get("exception")
    log.info("kopf: %s (%s)", context.get("message"), type(problem).__name__ if problem else "no error")
