"""What one reconcile decides, as values; `lockgate.controller` carries it out."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Action", "AddFinalizer", "CreateJob", "Decision", "DeleteJob", "ReleaseFinalizer"]


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Create the Job of the wanted run; that it may exist already is no error."""


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete a Job, unless it changed since it was seen."""

    name: str
    uid: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Keep the resource from going away under a Job at work."""


@dataclass(frozen=True, slots=True)
class ReleaseFinalizer:
    """No Job is at work any more."""


Action = CreateJob | DeleteJob | AddFinalizer | ReleaseFinalizer


@dataclass(frozen=True, slots=True)
class Decision:
    """The state to publish, then the actions in order, then when to look again."""

    phase: str
    """One of Pending, Running, Verifying, Ready, Blocked, Failed, Suspended."""
    reason: str
    message: str
    ready: bool = False
    stalled: bool = False
    """A person is needed."""
    reconciling: bool = True
    migrated: bool = False
    """The wanted run applied its revisions, whatever the health checks said."""
    healthy: bool | None = None
    """What the health checks of the wanted run said; None while they have said nothing."""
    actions: tuple[Action, ...] = ()
    requeue_after: float | None = None
    """Seconds; None where the next change or resync is early enough."""
