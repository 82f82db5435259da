"""Which images led to what a database contains, from what its history says."""

from __future__ import annotations

from lockgate.report import ImageTarget
from lockgate.runner.records.images import Event, replayed


def up(image: str, revision: str, *parents: str) -> Event:
    return Event(image, revision, parents, is_downgrade=False)


def down(image: str, revision: str) -> Event:
    return Event(image, revision, (), is_downgrade=True)


LINE = [up("shop:1", "a1"), up("shop:1", "a2", "a1"), up("shop:2", "a3", "a2"), up("", "a4", "a3")]


def test_an_image_is_told_by_the_heads_of_what_it_applied_the_newest_first() -> None:
    assert replayed(LINE, {"a1", "a2", "a3", "a4"}) == (ImageTarget("shop:2", ("a3",)), ImageTarget("shop:1", ("a2",)))


def test_an_image_is_not_told_while_something_that_it_applied_is_missing() -> None:
    assert replayed(LINE, {"a1", "a2"}) == (ImageTarget("shop:1", ("a2",)),)
    assert replayed(LINE, {"a1"}) == ()


def test_an_image_is_not_told_where_another_branch_that_it_had_was_taken_back() -> None:
    events = [up("shop:1", "b1"), up("shop:2", "a1"), up("shop:3", "c1"), down("shop:3", "b1"), down("shop:3", "c1")]

    assert replayed(events, {"a1"}) == ()
    assert replayed([*events, up("shop:3", "b1")], {"a1", "b1"}) == (
        ImageTarget("shop:2", ("a1",)),
        ImageTarget("shop:1", ("b1",)),
    )


def test_what_was_taken_back_before_an_image_ran_is_nothing_that_it_had() -> None:
    events = [up("shop:1", "b1"), down("shop:1", "b1"), up("shop:2", "a1")]

    assert replayed(events, {"a1"}) == (ImageTarget("shop:2", ("a1",)),)
