"""With standbys several pods of a Job tell of themselves; what people see is the one that migrates."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.report import Progress

STEP = "1/2 d41 add orders"


@pytest.mark.parametrize("first", ["leader", "standby"])
@pytest.mark.parametrize("waiting", ["", "lock on orders held by pid 9"])
async def test_the_status_is_that_of_the_pod_that_migrates_also_while_it_waits_for_a_table(
    first: str, waiting: str, world: Any
) -> None:
    world.migration(lock={"standbys": 1})
    await world.settle()
    told = {
        "leader": Progress(step=STEP, waiting_for=waiting),
        "standby": Progress(waiting_for="lock held by pid 1 (lockgate default/shop shop-0 leader)"),
    }
    for role in sorted(told, key=lambda role: role != first):
        world.run(world.job(), told[role])
    await world.settle()

    run = world.status()["run"]
    assert (run["step"], run.get("waitingFor", "")) == (STEP, waiting)
