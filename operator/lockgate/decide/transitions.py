"""Which events a change of status is worth. Pure; the events are posted after the status write they describe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lockgate import reasons
from lockgate.decide.wording import plural

__all__ = ["Note", "events_for", "gate_opened", "pods_held", "status_refused"]

QUIET = frozenset({reasons.RUNNING, reasons.WAITING, reasons.VERIFYING})
"""Between these a run moves to and fro; only entering their phase is news."""


@dataclass(frozen=True, slots=True)
class Note:
    """An event, without what it is about and when."""

    kind: Literal["Normal", "Warning"]
    reason: str
    action: str
    text: str


def events_for(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Note, ...]:
    """Return the events for the step from one published status to the next."""
    return (*_state(before, after), *_runs(before, after), *_pods(before, after))


def pods_held(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Note]:
    """Return, by pod, the events for pods that are held and that nothing on its way will free: one for each change."""
    told = (before.get("gate") or {}).get("uncovered") or ()
    images = (after.get("satisfied") or {}).get("images") or ()
    there = f"the newest that the database has is image {images[0]['image']}" if images else "the database has none yet"
    return {
        entry["pod"]: Note(
            "Warning",
            reasons.POD_HELD,
            "Gate",
            f"Held: it wants {entry['wants']}, and {there}. Images are compared"
            " letter by letter; see the annotation lockgate.dev/migration-image and the label lockgate.dev/revision.",
        )
        for entry in after["gate"].get("uncovered") or ()
        if entry not in told
    }


def gate_opened(count: int) -> Note:
    """Return the event for gates that were removed."""
    return Note("Normal", reasons.GATE_OPENED, "OpenGate", f"Opened the gate of {plural(count, 'pod')}.")


def status_refused(status: Mapping[str, Any]) -> Note:
    """Return the event for a status that the API server did not take; ``status`` is the one that says so."""
    return Note("Warning", reasons.STATUS_REFUSED, "Publish", _ready(status)["message"])


def _state(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Note]:
    old, new = _ready(before), _ready(after)
    moved = before.get("phase") != after["phase"]
    renamed = old.get("reason") != new["reason"] and new["reason"] not in QUIET
    if moved or renamed:
        warn = after["phase"] in ("Blocked", "Failed") or new["reason"] == reasons.RETRYING
        yield Note("Warning" if warn else "Normal", new["reason"], "Reconcile", new["message"])


def _runs(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Note]:
    """Tell of runs that ended without being the reason for the state, for example those of an earlier spec."""
    told = {entry["startedAt"] for entry in before.get("history") or ()}
    for entry in after.get("history") or ():
        if entry["startedAt"] in told or _ready(after)["message"].startswith(entry["message"]):
            continue
        kind: Literal["Normal", "Warning"] = "Normal" if entry["outcome"] == "Succeeded" else "Warning"
        yield Note(kind, entry["reason"], "Migrate", f"Run {entry['id']} of {entry['image']}: {entry['message']}")


def _pods(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Note]:
    count = after["gate"]["unguarded"]
    if count > (before.get("gate") or {}).get("unguarded", 0):
        text = f"{plural(count, 'pod')} started without the schema being there: no gate was at work when created."
        yield Note("Warning", reasons.UNGUARDED_PODS, "Gate", text)


def _ready(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((c for c in status.get("conditions") or () if c["type"] == "Ready"), {})
