"""``spec.template`` laid over a pod that we built: maps merge, lists merge by name where Kubernetes does so. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["overlay"]

LIST_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
}
"""Lists whose entries have an identity; any other list is replaced as a whole."""


def overlay(base: Any, over: Any, field: str = "") -> Any:
    """Return ``base`` with ``over`` on top; a null in a map removes what the base has there."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        merged = {key: overlay(base[key], value, key) if key in base else value for key, value in over.items()}
        return {key: value for key, value in {**base, **merged}.items() if value is not None}
    if field in LIST_KEYS and isinstance(base, Sequence) and isinstance(over, Sequence):
        return _lists(base, over, LIST_KEYS[field])
    return over


def _lists(base: Sequence[Mapping[str, Any]], over: Sequence[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    """Merge entries of the same key in place; append the others."""
    changes = {entry.get(key): entry for entry in over}
    kept = [overlay(entry, changes.get(entry.get(key), {})) for entry in base]
    known = {entry.get(key) for entry in base}
    return kept + [entry for entry in over if entry.get(key) not in known]
