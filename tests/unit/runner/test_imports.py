"""How often the garbage collector looks while an application is imported."""

import gc

import pytest

from lockgate.runner.imports import begin_imports, end_imports


@pytest.fixture(autouse=True)
def thresholds():
    before = gc.get_threshold()
    yield before
    end_imports()
    gc.set_threshold(*before)
    gc.unfreeze()


def test_the_collector_looks_rarely_while_an_application_is_imported_and_as_always_afterwards(thresholds):
    begin_imports()
    assert gc.get_threshold()[0] > thresholds[0]

    end_imports()

    assert gc.get_threshold() == thresholds


def test_what_an_application_sets_itself_stays():
    begin_imports()
    gc.set_threshold(123, 4, 5)

    end_imports()

    assert gc.get_threshold() == (123, 4, 5)


def test_nothing_is_changed_in_a_process_that_is_not_ours():
    gc.set_threshold(123, 4, 5)

    end_imports()

    assert gc.get_threshold() == (123, 4, 5)
    assert gc.get_freeze_count() == 0
