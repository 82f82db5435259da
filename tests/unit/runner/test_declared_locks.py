"""What a revision file may declare, and how long a run waits for who holds it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lockgate.errors import InvalidRevisions
from lockgate.runner.entry.declared_locks import LONGEST_WAIT, DeclaredLocks, declared, wait_for_old

ORDERS = DeclaredLocks("r1.py", ("orders",))


def module(**names):
    return SimpleNamespace(**names)


def test_a_revision_that_declares_nothing_locks_nothing():
    assert declared(module(), "r1.py") is None
    assert declared(module(lockgate_locks=()), "r1.py") is None


def test_tables_and_a_mode_are_read():
    found = declared(module(lockgate_locks=["orders", "a.b"], lockgate_lock_mode="SHARE"), "/app/versions/r1.py")

    assert found == DeclaredLocks("r1.py", ("orders", "a.b"), "SHARE")


@pytest.mark.parametrize(
    "names",
    [
        {"lockgate_locks": "orders"},
        {"lockgate_locks": ("orders", 1)},
        {"lockgate_locks": ("",)},
        {"lockgate_locks": {"orders": "SHARE"}},
        {"lockgate_locks": ("orders",), "lockgate_lock_mode": "exclusive please"},
    ],
)
def test_what_cannot_be_meant_names_the_file_and_what_to_write(names):
    with pytest.raises(InvalidRevisions, match=r"^r1\.py: lockgate_lock.* Write "):
        declared(module(**names), "/app/versions/r1.py")


class Looks:
    """A table whose locks are held by these transactions, one set for each look; time passes by sleeping."""

    def __init__(self, *looks):
        self.looks, self.now, self.said = list(looks), 0.0, []

    def ask(self, sql):  # whatever is asked
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return [(name, 4711, "report", "orders") for name in found]

    def sleep(self, seconds):
        self.now += seconds

    def wait(self):
        wait_for_old(ORDERS, self.ask, clock=lambda: self.now, sleep=self.sleep, waiting=self.said.append)
        return self.now


def test_a_table_that_nobody_uses_is_not_waited_for():
    assert Looks([]).wait() == 0


def test_transactions_that_come_and_go_are_not_waited_for():
    looks = Looks(["3/1"], ["3/2"], ["3/3"])

    looks.wait()

    assert looks.looks == [["3/3"]]
    assert not looks.said


def test_a_transaction_that_stays_is_waited_for_and_named():
    looks = Looks(["3/1"], ["3/1", "4/1"], ["3/1"], ["4/2"], ["never"])

    looks.wait()

    assert looks.looks == [["never"]]
    assert set(looks.said) == {"lock on orders held by pid 4711 (report)"}


def test_the_wait_has_an_end():
    assert LONGEST_WAIT <= Looks(["3/1"]).wait() < LONGEST_WAIT + 1
