"""The order of the rules is behaviour: this list is to be changed on purpose only."""

from __future__ import annotations

import inspect

from lockgate import errors, reasons
from lockgate.plan import RULES


def test_the_rules_are_asked_in_this_order() -> None:
    assert [rule.__name__ for rule in RULES] == [
        "deletion_waits",  # nothing else matters once it is deleted
        "deletion_goes_on",
        "older_run_never_started",  # it would never end
        "older_run_is_waited_for",  # before anything about the wanted run: one at a time
        "wanted_run_is_at_work",  # before suspended: it is not killed
        "wanted_run_succeeded",  # before suspended: what is ready stays ready
        "wanted_run_failed",
        "suspended",  # before anything that leads to a run
        "name_is_taken",
        "leftover_is_removed",
        "job_was_rejected",
        "rejected_job_is_tried_again",
        "run_starts",
    ]


def test_a_reason_means_the_same_for_the_operator_and_the_runner() -> None:
    ours = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    theirs = {name for name, value in vars(errors).items() if inspect.isclass(value)}

    assert ours & theirs == {"DatabaseAhead"}  # ready by policy, or refused by policy


def test_every_reason_is_camel_case_as_conditions_require() -> None:
    values = [value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)]

    assert len(values) > 30
    assert all(value.isalnum() and value[0].isupper() for value in values)
