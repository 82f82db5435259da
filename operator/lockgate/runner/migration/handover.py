"""What a run hands over to itself where it goes on in a fresh process, and takes over there: JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lockgate.report import Applied
from lockgate.runner.migration.account import Account, Adopted
from lockgate.runner.records.unverified import Baseline

__all__ = ["MIGRATE", "PLAN_BACK", "TAKE_BACK", "VERIFY", "baseline_of", "handed_over", "take_over"]

MIGRATE, PLAN_BACK, TAKE_BACK, VERIFY = "migrate", "plan back", "take back", "verify"
"""What a leader does, in this order: a fresh process goes on with the one that was under way."""

_LISTS = ("current", "reached", "target", "ahead", "changed")
_SETS = ("revisions", "committed_inside", "looked_from_outside")
_PLAIN = (
    "attempts",
    "has_begun",
    "pending",
    "is_ahead",
    "writes_history",
    "is_complete",
    "known_tables",
    "transactions",
    "database",
)


def handed_over(account: Account, before: Baseline | None, **more: Any) -> dict[str, Any]:
    """Return what has been done so far, what was wrong ``before`` it, and ``more`` of the run itself; no secret."""
    return {
        **{name: getattr(account, name) for name in (*_LISTS, *_PLAIN, "tables", "adopted")},
        **{name: sorted(getattr(account, name)) for name in _SETS},
        "applied": [asdict(step) for step in account.applied],
        "undone": [asdict(step) for step in account.undone],
        "before": None if before is None else [sorted(part) for part in before],
        **more,
    }


def take_over(state: Mapping[str, Any]) -> Account:
    """Return the account with which a run goes on; a new one where there is nothing to take over."""
    if not state:
        return Account()
    adopted = state["adopted"]
    values: dict[str, Any] = {
        **{name: tuple(state[name]) for name in _LISTS},
        **{name: state[name] for name in _PLAIN},
        "tables": tuple((database, schema, table) for database, schema, table in state["tables"]),
        "adopted": None if adopted is None else Adopted(tuple(adopted[0]), adopted[1]),
        **{name: set(state[name]) for name in _SETS},
        "applied": [Applied(**step) for step in state["applied"]],
        "undone": [Applied(**step) for step in state["undone"]],
    }
    return Account(**values)


def baseline_of(state: Mapping[str, Any]) -> Baseline | None:
    """Return what was wrong before the run, as the process found it that began."""
    before = state.get("before")
    return None if before is None else Baseline(*(frozenset(part) for part in before))
