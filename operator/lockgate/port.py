"""What the controller needs of the world outside: the cluster, events, metrics. Protocols and names only, no I/O.

Everything is a plain dict as the API server sends it, so that neither side has to know a client library's classes.
Every call of `ClusterPort` either returns or raises a leaf of `lockgate.errors.ClusterError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

__all__ = [
    "DATABASE_MIGRATION",
    "EVENT",
    "JOB",
    "LEASE",
    "MERGE_PATCH",
    "POD",
    "STRATEGIC_MERGE_PATCH",
    "ClusterPort",
    "EventSink",
    "Kind",
    "MetricsSink",
    "Object",
]

Object = dict[str, Any]
"""A Kubernetes object as JSON has it."""

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object that the operator touches; it touches no others."""

    api_version: str
    plural: str
    kind: str


DATABASE_MIGRATION = Kind("lockgate.dev/v1alpha1", "databasemigrations", "DatabaseMigration")
JOB = Kind("batch/v1", "jobs", "Job")
POD = Kind("v1", "pods", "Pod")
EVENT = Kind("events.k8s.io/v1", "events", "Event")
LEASE = Kind("coordination.k8s.io/v1", "leases", "Lease")


class ClusterPort(Protocol):
    """The API server. Reads are consistent (no cache in between), every call has a time-out."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object, or raise Missing."""
        ...

    async def list(
        self, kind: Kind, namespace: str | None, *, label_selector: str = "", field_selector: str = ""
    ) -> list[Object]:
        """Return all objects of a namespace (None: of all namespaces) that the selectors match."""
        ...

    async def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Create an object, or raise AlreadyExists, Invalid, Forbidden."""
        ...

    async def apply_status(self, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        """Server-side apply of the status; a ``metadata.resourceVersion`` that is not current raises Conflict."""
        ...

    async def patch(self, kind: Kind, namespace: str, name: str, body: Object, *, content_type: str) -> Object:
        """Patch an object; a ``metadata.resourceVersion`` or ``uid`` that is not current raises Conflict."""
        ...

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        uid: str,
        resource_version: str | None = None,
        propagation: str = "Background",
    ) -> None:
        """Delete exactly this object; raise Conflict if it is no longer the one that was seen."""
        ...

    async def pod_log(self, namespace: str, name: str, container: str, *, tail_lines: int, limit_bytes: int) -> str:
        """Return the end of a container's log."""
        ...


class EventSink(Protocol):
    """Where events go. Never raises: an event that cannot be posted is not worth a failed reconcile."""

    async def emit(
        self, regarding: Object, kind: Literal["Normal", "Warning"], reason: str, action: str, note: str, /
    ) -> None:
        """Post an event about an object."""
        ...


class MetricsSink(Protocol):
    """Where figures go; counts in memory, never raises."""

    def observed(self, namespace: str, name: str, *, phase: str, held: int, bypassed: int, unguarded: int) -> None:
        """Remember the newest state of one resource."""
        ...

    def forgotten(self, namespace: str, name: str) -> None:
        """Drop what was remembered of a resource that is gone."""
        ...

    def run_finished(self, *, outcome: str, reason: str, seconds: float) -> None:
        """Count a run that ended (Succeeded, Failed, Interrupted) and how long it took."""
        ...

    def status_refused(self, reason: str) -> None:
        """Count a status that the API server did not take; ``reason`` is the error's class."""
        ...

    def gates_opened(self, count: int) -> None:
        """Count pods whose scheduling gate was removed."""
        ...
