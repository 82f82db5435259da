"""Which events a life leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.errors import Conflict
from lockgate.report import Progress


async def test_a_run_leaves_one_event_for_each_thing_that_happened(world: Any, migrated: Any) -> None:
    world.migration()
    world.app_pod("app-1")
    await world.settle()
    pod = world.run(world.job())
    for waiting in ("lock held by pid 1", "", "lock held by pid 2", ""):
        world.progress(pod, Progress(step="1/1 d41 add orders", waiting_for=waiting))
        await world.settle()
    world.end(pod, migrated())
    world.complete(world.job())
    await world.settle()

    assert [(kind, reason) for kind, reason, _ in world.told.events] == [
        ("Normal", "Starting"),
        ("Normal", "Waiting"),
        ("Normal", "Migrated"),
        ("Normal", "GateOpened"),
    ]


async def test_the_end_of_an_older_run_is_told_of_too(world: Any, migrated: Any) -> None:
    world.migration()
    await world.settle()
    first = world.job()
    pod = world.run(first)
    world.edit(image="shop:2")
    await world.settle()
    world.end(pod, migrated())
    world.complete(first)
    await world.settle()

    told = [note for kind, reason, note in world.told.events if (kind, reason) == ("Normal", "Migrated")]
    assert told == [f"Run {first['metadata']['labels']['lockgate.dev/run']} of shop:1: Applied 1 revision."]


async def test_nothing_is_told_of_a_status_that_could_not_be_written(world: Any) -> None:
    world.migration()
    world.api.refuse["apply_status", "databasemigrations"] = Conflict("somebody wrote in between")

    with pytest.raises(Conflict):
        await world.reconcile()

    assert world.told.events == []
    assert world.api.writes == []
