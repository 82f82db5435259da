"""Every reason that the page explains is one that something leads to, and the reverse."""

from __future__ import annotations

from pathlib import Path

import pytest
from operator_stories import OTHERS, STORIES, documented, leaves, reasons_told
from operator_world import World

from lockgate import errors, reasons

TESTS = Path(__file__).resolve().parents[2]
RUNNER = "\n".join(path.read_text() for part in ("database", "unit/runner") for path in (TESTS / part).glob("*.py"))


def test_each_reason_of_the_page_and_of_the_code_has_its_story() -> None:
    known = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}

    assert known - STORIES.keys() == set()
    assert documented() == STORIES.keys()


@pytest.mark.parametrize("reason", STORIES)
async def test_a_reason_is_told_where_its_story_leads(reason: str) -> None:
    world = World()

    await STORIES[reason](world)

    assert reason in reasons_told(world)


@pytest.mark.parametrize("number", range(len(OTHERS)))
async def test_no_story_leads_to_a_reason_that_the_page_does_not_explain(number: int) -> None:
    world = World()

    await OTHERS[number](world)

    assert reasons_told(world) <= documented()


@pytest.mark.parametrize("error", [leaf for leaf in leaves(errors.LockgateError) if leaf.exit_code >= 10])
def test_each_reason_of_the_runner_is_expected_by_a_test_of_the_runner(error: type[errors.LockgateError]) -> None:
    assert f'"{error.__name__}"' in RUNNER
