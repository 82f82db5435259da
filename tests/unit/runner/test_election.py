"""How a run waits to lead: without a session between two looks, whatever keeps it from looking."""

from __future__ import annotations

import pytest

from lockgate.errors import DatabaseUnreachable, InvalidConfiguration, LockBusy, TooManySessions, TransactionPooler
from lockgate.runner.database.backends.backend import Room
from lockgate.runner.database.lock import Holder
from lockgate.runner.migration.election import Candidate, OneSession, elect
from lockgate.runner.migration.room import check_room

HOLDER = Holder(4711, "lockgate shop/shop shop-7c leader")


class FakeConnection:
    def __init__(self, world):
        self.world = world
        world.open += 1
        world.looks += 1

    def close(self):
        self.world.open -= 1


class World:
    """A lock that is free at some look, and a clock."""

    def __init__(self, free_at=10**6, crowded=()):
        self.open, self.looks, self.now = 0, 0, 0.0
        self.free_at, self.crowded = free_at, crowded
        self.told, self.asleep = [], []

    def connect(self):
        if self.looks + 1 in self.crowded:
            self.looks += 1
            raise TooManySessions("The server takes no further session: too many connections for role shop.")
        return FakeConnection(self)

    def try_acquire(self):
        return self.looks >= self.free_at

    def holder(self):
        return HOLDER if self.looks < self.free_at else None

    def sleep(self, seconds):
        self.asleep.append(self.open)
        self.now += seconds

    def elect(self, *, enough_at=10**6, wait=60, prove=None):
        session = OneSession(self.connect)
        candidate = Candidate(lambda _: self, lambda _: self.looks >= enough_at, prove)
        waited = elect(
            candidate,
            session,
            wait=wait,
            clock=lambda: self.now,
            sleep=self.sleep,
            uniform=lambda _low, high: high,
            waiting=self.told.append,
        )
        return waited, session


def test_a_run_that_waits_holds_no_session_while_it_pauses_and_keeps_the_one_that_is_elected():
    world = World(free_at=5)

    waited, session = world.elect()

    assert (waited, world.looks) == (world.now, 5)
    assert world.asleep == [0] * 4
    assert (world.open, session.connection is not None) == (1, True)
    assert {(told.said, told.holder) for told in world.told} == {(str(HOLDER), 4711)}


def test_a_run_whose_work_another_has_done_is_elected_no_more():
    assert World().elect(enough_at=3)[0] is None


def test_no_session_to_be_had_for_a_look_is_waited_for_like_the_lock():
    world = World(free_at=4, crowded=(2, 3))

    assert world.elect()[0] == world.now
    assert [told.said.partition(":")[0] for told in world.told[1:]] == ["The server takes no further session"] * 2


@pytest.mark.parametrize(("crowded", "error"), [((), LockBusy), (range(2, 1000), TooManySessions)])
def test_a_run_that_waited_too_long_says_what_for(crowded, error):
    world = World(crowded=crowded)

    with pytest.raises(error) as caught:
        world.elect(wait=5)

    assert type(caught.value) is error
    assert 5 <= world.now < 6
    assert world.open == 0


def test_behind_a_pooler_no_lock_is_tried_before_the_session_is_known_to_be_its_own():
    asked = []

    def prove(_):
        asked.append(world.looks)
        if world.looks == 3:
            raise TransactionPooler("It is shared.")
        return False

    world = World(free_at=2)

    with pytest.raises(TransactionPooler):
        world.elect(prove=prove)

    assert asked == [2, 3]  # at the first look, somebody leads


def test_a_server_that_is_away_between_two_looks_is_waited_for():
    world = World(free_at=3)
    connect = world.connect

    def away():
        if world.looks == 1 and not world.told[1:]:
            raise DatabaseUnreachable("No connection to the database.")
        return connect()

    world.connect = away

    assert world.elect()[0] == world.now


@pytest.mark.parametrize(("room", "tried"), [(Room(), False), (Room(free=1), True), (Room(9, "it", 3), False)])
def test_a_session_for_env_py_is_made_sure_of_where_few_are_left(room, tried):
    world = World()

    check_room(room, world.connect)

    assert (world.looks, world.open) == (int(tried), 0)


def test_a_login_that_may_have_one_session_only_is_a_matter_of_configuration():
    with pytest.raises(InvalidConfiguration) as caught:
        check_room(Room(1, "the role shop (CONNECTION LIMIT)", 0), World().connect)

    assert "2 sessions at the same time" in caught.value.message
    assert "the role shop (CONNECTION LIMIT) may have 1." in caught.value.message
