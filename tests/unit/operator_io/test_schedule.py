from __future__ import annotations

import random

import pytest

from lockgate.process.schedule import Schedule

SHOP, OTHER = ("default", "shop"), ("default", "other")


@pytest.fixture
def schedule() -> Schedule:
    return Schedule(jitter=lambda: 0.0)


def test_a_key_that_is_added_many_times_is_taken_once(schedule: Schedule) -> None:
    for _ in range(5):
        schedule.add(SHOP, 10)
    assert schedule.take(10) == SHOP
    assert schedule.take(10) is None
    assert len(schedule) == 0


def test_of_several_wishes_the_earliest_wins(schedule: Schedule) -> None:
    schedule.add(SHOP, 300)
    schedule.add(SHOP, 10)
    schedule.add(SHOP, 200)
    assert schedule.next_due() == 10
    assert schedule.take(9.9) is None
    assert schedule.take(10) == SHOP
    schedule.succeeded(SHOP, 10, None)
    assert schedule.next_due() is None, "the later wishes are fulfilled with the first"


def test_keys_are_taken_in_the_order_in_which_they_became_due(schedule: Schedule) -> None:
    schedule.add(OTHER, 2)
    schedule.add(SHOP, 1)
    assert [schedule.take(5), schedule.take(5)] == [SHOP, OTHER]


def test_a_key_is_not_taken_while_it_runs_but_again_afterwards(schedule: Schedule) -> None:
    schedule.add(SHOP, 0)
    assert schedule.take(0) == SHOP
    schedule.add(SHOP, 1)
    assert schedule.take(1) is None
    schedule.succeeded(SHOP, 2, None)
    assert schedule.take(2) is None, "a pause after each run"
    assert schedule.take(2.2) == SHOP


def test_a_key_rests_between_runs_however_often_it_is_added(schedule: Schedule) -> None:
    runs = 0
    for tenth in range(101):
        now = tenth / 10
        schedule.add(SHOP, now)
        if schedule.take(now):
            runs += 1
            schedule.succeeded(SHOP, now, None)
    assert 45 <= runs <= 51, "five a second"


def test_a_run_that_asks_for_another_one_gets_it_then(schedule: Schedule) -> None:
    schedule.add(SHOP, 0)
    schedule.take(0)
    schedule.succeeded(SHOP, 1, 30)
    assert schedule.next_due() == 31


def test_failures_double_the_pause_up_to_a_minute_and_success_forgets_them(schedule: Schedule) -> None:
    delays, now = [], 0.0
    schedule.add(SHOP, now)
    for _ in range(9):
        assert schedule.take(now) == SHOP
        delays.append(schedule.failed(SHOP, now))
        now += delays[-1]
    assert delays == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert schedule.take(now) == SHOP
    schedule.succeeded(SHOP, now, 0)
    schedule.take(now + 1)
    assert schedule.failed(SHOP, now + 1) == 0.5


def test_the_server_may_ask_for_a_longer_pause(schedule: Schedule) -> None:
    schedule.add(SHOP, 0)
    schedule.take(0)
    assert schedule.failed(SHOP, 0, at_least=7) == 7
    assert schedule.next_due() == 7


def test_news_about_a_failing_key_are_not_held_up_by_its_pause(schedule: Schedule) -> None:
    schedule.add(SHOP, 0)
    schedule.take(0)
    for _ in range(8):
        schedule.failed(SHOP, 0)
        schedule.add(SHOP, 1)
        assert schedule.take(1) == SHOP


def test_jitter_takes_off_up_to_a_quarter() -> None:
    schedule = Schedule(jitter=lambda: 1.0)
    schedule.add(SHOP, 0)
    schedule.take(0)
    assert schedule.failed(SHOP, 0) == 0.375


def test_whatever_is_asked_no_wish_is_lost_and_no_key_runs_twice() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    schedule = Schedule(jitter=dice.random)
    keys = [("default", str(number)) for number in range(8)]
    wished: dict[tuple[str, str], float] = {}
    running: set[tuple[str, str]] = set()
    now = 0.0
    for _ in range(5000):
        now += dice.random() / 10
        match dice.randrange(3):
            case 0:
                key = dice.choice(keys)
                when = now + dice.random()
                schedule.add(key, when)
                wished[key] = min(wished.get(key, when), when)
            case 1:
                taken = schedule.take(now)
                if taken:
                    assert taken not in running
                    running.add(taken)
                    wished.pop(taken)
            case 2 if running:
                key = dice.choice(sorted(running))
                running.remove(key)
                if dice.random() < 0.5:
                    schedule.succeeded(key, now, None)
                else:
                    wished[key] = min(wished.get(key, now + 100), now + schedule.failed(key, now))
    for key in running:
        schedule.succeeded(key, now, None)
    left = set()
    while taken := schedule.take(now + 1000):
        left.add(taken)
    assert left == set(wished)
