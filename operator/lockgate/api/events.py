"""Posts events (events.k8s.io/v1) and folds repetitions into a series, as `kubectl events` shows them: "x3 over 12m".

An event is a courtesy: one that cannot be posted is logged, and the reconcile goes on.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Literal, Protocol

from lockgate.errors import ClusterError, Missing
from lockgate.port import EVENT, MERGE_PATCH, Kind, Object

__all__ = ["CONTROLLER", "EventPort", "Events"]

log = logging.getLogger(__name__)

CONTROLLER = "lockgate.dev/operator"
NOTE_BYTES = 1024  # the API's limit for note
SERIES = timedelta(minutes=15)
"""A repetition within this time after the last one belongs to the same series."""
REMEMBERED = 1000


class EventPort(Protocol):
    """What of the cluster events need."""

    async def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Create an object."""
        ...

    async def patch(self, kind: Kind, namespace: str, name: str, body: Object, *, content_type: str) -> Object:
        """Patch an object, or raise Missing."""
        ...


@dataclass(slots=True)
class _Posted:
    name: str
    count: int
    last: datetime


class Events:
    """Satisfies `lockgate.port.EventSink`."""

    def __init__(
        self,
        cluster: EventPort,
        *,
        instance: str,
        today: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """``instance`` is the name of the operator's pod."""
        self._cluster, self._instance, self._today = cluster, instance[:128], today
        self._posted: OrderedDict[tuple[str, ...], _Posted] = OrderedDict()

    async def emit(
        self, regarding: Object, kind: Literal["Normal", "Warning"], reason: str, action: str, note: str, /
    ) -> None:
        """Post an event about an object (as the API server returned it), or count one more of the same."""
        reference, note = _reference(regarding), _bounded(note)
        what = {"type": kind, "reason": reason, "action": action, "note": note}
        key = (reference.get("uid", ""), reference["namespace"], reference["name"], *what.values())
        try:
            if not await self._repeat(key):
                await self._first(key, reference, what)
        except ClusterError as error:
            log.warning("Event %s about %s/%s is lost. %s", reason, reference["namespace"], reference["name"], error)

    async def _repeat(self, key: tuple[str, ...]) -> bool:
        """Count one more of an event that was posted a short while ago; return False if there is none."""
        now, posted = self._today(), self._posted.get(key)
        if posted is None or now - posted.last > SERIES:
            return False
        series = {"series": {"count": posted.count + 1, "lastObservedTime": _micro_time(now)}}
        try:
            await self._cluster.patch(EVENT, key[1], posted.name, series, content_type=MERGE_PATCH)
        except Missing:  # events live for an hour
            return False
        posted.count, posted.last = posted.count + 1, now
        return True

    async def _first(self, key: tuple[str, ...], reference: Object, what: Object) -> None:
        now = self._today()
        # The way client-go names them: unique per object and instant, and sorted by time.
        name = f"{reference['name']}.{int(now.timestamp() * 1_000_000):x}"
        body = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": name, "namespace": reference["namespace"]},
            "eventTime": _micro_time(now),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "regarding": reference,
        }
        body |= what
        await self._cluster.create(EVENT, reference["namespace"], body)
        self._posted[key] = _Posted(name, 1, now)
        self._posted.move_to_end(key)
        if len(self._posted) > REMEMBERED:
            self._posted.popitem(last=False)


def _reference(regarding: Object) -> Object:
    metadata = regarding["metadata"]
    known = {
        "apiVersion": regarding.get("apiVersion"),
        "kind": regarding.get("kind"),
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata.get("uid"),
        "resourceVersion": metadata.get("resourceVersion"),
    }
    return {name: value for name, value in known.items() if value}


def _bounded(note: str) -> str:
    whole = note.encode()
    return note if len(whole) <= NOTE_BYTES else whole[: NOTE_BYTES - 3].decode(errors="ignore") + "…"


def _micro_time(when: datetime) -> str:
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
