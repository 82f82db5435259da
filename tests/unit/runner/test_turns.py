"""Starting by turns."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

from lockgate.runner.turns import PATIENCE, Turn, processors, take_turn

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the names are those of Linux")


class Times:
    """A clock that only sleeping moves on."""

    def __init__(self):
        self.now = 0.0

    def sleep(self, seconds):
        self.now += seconds

    def take(self, places, name, sleep=None):
        uniform = lambda low, _high: low  # noqa: E731  # as random.uniform
        return take_turn(places, clock=lambda: self.now, sleep=sleep or self.sleep, uniform=uniform, name=name)


@pytest.fixture
def name():
    return f"lockgate test {uuid.uuid4()}"


def test_as_many_start_at_once_as_there_are_places_and_nobody_waits_for_that(name):
    times = Times()

    turns = [times.take(2, name), times.take(2, name)]

    assert [turn.is_held for turn in turns] == [True, True]
    assert times.now == 0


def test_the_next_one_starts_when_a_turn_ends(name):
    times = Times()
    first = times.take(1, name)

    def sleep(seconds):
        times.sleep(seconds)
        first.end()

    second = times.take(1, name, sleep)

    assert second.is_held
    assert 0 < times.now < PATIENCE


def test_who_never_gets_a_turn_starts_without(name):
    times = Times()
    first = times.take(1, name)

    second = times.take(1, name)

    assert (first.is_held, second.is_held) == (True, False)
    assert times.now == pytest.approx(PATIENCE, abs=0.1)


def test_a_turn_ends_with_its_process(name):
    take = f"taken = socket.socket(socket.AF_UNIX); taken.bind('\\0{name} 0')"
    subprocess.run([sys.executable, "-c", f"import os, socket; {take}; os._exit(0)"], check=True)

    assert Times().take(1, name).is_held


def test_a_turn_can_end_twice(name):
    turn = Times().take(1, name)
    turn.end()
    turn.end()

    assert not turn.is_held
    assert not Turn(None).is_held
    assert Times().take(1, name).is_held


def test_there_is_a_processor():
    assert processors() >= 1
