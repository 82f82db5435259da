"""A run that goes on, in a fresh process or after it lost its session, forgets nothing of what it did."""

from __future__ import annotations

import json
from types import SimpleNamespace

from lockgate.report import Applied
from lockgate.runner.migration.account import Account, Adopted
from lockgate.runner.migration.handover import baseline_of, handed_over, take_over
from lockgate.runner.records.unverified import Baseline

TABLE = ("database", "public", "alembic_version")


def test_what_is_handed_over_is_taken_over():
    account = Account(
        current=("a1",),
        reached=("a2",),
        target=("a3",),
        pending=1,
        applied=[Applied("a2", "two", 1.5)],
        undone=[Applied("b1")],
        revisions={"a1", "a2"},
        attempts=4,
        tables=(TABLE,),
        adopted=Adopted(("a1",), 3),
        committed_inside={"a2"},
    )
    before = Baseline(frozenset({"public.broken"}), frozenset())

    state = json.loads(json.dumps(handed_over(account, before, stage="migrate")))

    assert (take_over(state), baseline_of(state), state["stage"]) == (account, before, "migrate")
    assert (take_over({}), baseline_of({})) == (Account(), None)


def test_what_nobody_could_verify_is_told_once_it_can_be():
    arrival = SimpleNamespace(fingerprint=TABLE[0], schema=TABLE[1], table=TABLE[2])
    seen = SimpleNamespace(arrival=arrival, rows=(), done=[Applied("a1"), Applied("a2")], undone=[])
    account = Account()

    account.keep_unsettled(SimpleNamespace(seen=[seen]))
    account.settle_kept({"a1"}, ("another", *TABLE[1:]))
    assert account.applied == []
    account.settle_kept({"a1"}, TABLE)

    assert (account.applied, account.unsettled) == ([Applied("a1")], [])
