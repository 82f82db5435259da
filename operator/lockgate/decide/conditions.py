"""Conditions as a tiny algebra: always with the generation they speak of, transition times that only move on a flip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["Condition", "merge", "status_word"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition as it should be."""

    type: str
    status: str
    """``True``, ``False`` or ``Unknown``."""
    reason: str
    message: str = ""


def status_word(value: bool | None) -> str:
    """Return how a condition writes a truth value; None is not known."""
    return "Unknown" if value is None else str(value)


def merge(
    before: Iterable[Mapping[str, Any]], wanted: Sequence[Condition], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Return the conditions for the status, in the order wanted."""
    known = {condition.get("type"): condition for condition in before}
    return [_merged(known.get(condition.type, {}), condition, generation, now) for condition in wanted]


def _merged(before: Mapping[str, Any], wanted: Condition, generation: int, now: datetime) -> dict[str, Any]:
    flipped = before.get("status") != wanted.status or "lastTransitionTime" not in before
    return {
        "type": wanted.type,
        "status": wanted.status,
        "observedGeneration": generation,
        "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ") if flipped else before["lastTransitionTime"],
        "reason": wanted.reason,
        "message": wanted.message,
    }
