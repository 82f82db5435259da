"""Killed anywhere, the operator ends where it would have ended, and never with two Jobs."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.errors import Conflict, Unavailable
from lockgate.port import JOB
from lockgate.report import Progress

CALLS = 80
"""More than the story takes; the test says so if it ever takes more."""


async def story(world: Any, migrated: Any) -> tuple[int, set[str]]:
    """Tell a whole life; return how many calls it took and the uids of all Jobs there ever were."""
    world.migration()
    world.app_pod("one")
    world.app_pod("two")
    jobs: set[str] = set()
    for image in ("shop:1", "shop:2"):
        world.edit(image=image)
        pod = None
        while True:
            world.pass_time(3)
            try:
                await world.reconcile()
            except (Unavailable, Conflict):
                world.restart_operator()
                continue
            jobs |= {job["metadata"]["uid"] for job in world.api.all(JOB)}
            if pod is None and world.status().get("run"):
                pod = world.run(world.job(), Progress(step="1/1 d41"))
            elif pod is not None and not world.job().get("status"):
                world.end(pod, migrated())
                world.complete(world.job())
            elif world.ready()["status"] == "True" and len(jobs) == int(image[-1]):
                break
        await quiet(world)
    return len(world.api.calls), jobs


async def quiet(world: Any) -> None:
    """Settle, and once more after the one call that may fail."""
    try:
        await world.settle()
    except (Unavailable, Conflict):
        world.restart_operator()
        await world.settle()


async def test_the_story_is_covered_by_the_positions_below(world: Any, migrated: Any) -> None:
    calls, jobs = await story(world, migrated)

    assert len(jobs) == 2
    assert calls <= CALLS


@pytest.mark.parametrize("lost", ["the request", "the answer"])
@pytest.mark.parametrize("position", range(CALLS))
async def test_a_call_that_fails_changes_nothing_in_the_end(
    world: Any, migrated: Any, position: int, lost: str
) -> None:
    world.api.fail_at, world.api.fail_after_effect = position, lost == "the answer"

    _, jobs = await story(world, migrated)

    assert len(jobs) == 2
    assert world.held() == []
    assert world.ready()["status"] == "True"
    assert [entry["outcome"] for entry in world.status()["history"]] == ["Succeeded", "Succeeded"]
    assert [entry["image"] for entry in world.status()["satisfied"]["images"]] == ["shop:2", "shop:1"]


async def test_two_operators_at_once_make_one_job(world: Any, migrated: Any) -> None:
    world.migration()
    first = world.controller
    world.restart_operator()
    second = world.controller

    for _ in range(4):
        for controller in (first, second):
            world.pass_time(3)
            await controller.reconcile("default", "shop")
    assert len(world.api.all(JOB)) == 1
    await world.succeed(migrated())

    assert len(world.status()["history"]) == 1
