"""The algebra of conditions."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from lockgate.decide.conditions import Condition, merge

NOW = datetime(2026, 11, 21, 8, 0, 0, tzinfo=timezone.utc)
LATER = NOW + timedelta(minutes=5)


def test_the_transition_time_stays_while_only_words_and_generation_change() -> None:
    before = merge([], [Condition("Ready", "False", "Starting", "a")], generation=1, now=NOW)

    after = merge(before, [Condition("Ready", "False", "Running", "b")], generation=2, now=LATER)

    assert after == [{**before[0], "reason": "Running", "message": "b", "observedGeneration": 2}]


def test_the_transition_time_moves_when_the_status_flips() -> None:
    before = merge([], [Condition("Ready", "False", "Running")], generation=1, now=NOW)

    after = merge(before, [Condition("Ready", "True", "Migrated")], generation=1, now=LATER)

    assert after[0]["lastTransitionTime"] == "2026-11-21T08:05:00Z"
