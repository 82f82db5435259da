"""A cluster with one operator, in memory: see `operator_world`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from operator_world import World, migrated

from lockgate.port import DATABASE_MIGRATION, JOB, Kind, Object
from lockgate.report import Report


@pytest.fixture
def world() -> World:
    """Make a cluster that insists on Ready being False, for the current spec, before a Job is created."""
    world = World()

    def check(kind: Kind, body: Object) -> None:
        if kind != JOB:
            return
        owner = world.api.find(DATABASE_MIGRATION, body["metadata"]["ownerReferences"][0]["name"])
        ready = next(c for c in owner["status"]["conditions"] if c["type"] == "Ready")
        assert ready["status"] == "False"
        assert owner["status"]["observedGeneration"] == owner["metadata"]["generation"] == ready["observedGeneration"]
        assert "lockgate.dev/run" in owner["metadata"]["finalizers"]
        busy = [job for job in world.api.all(JOB) if not (job.get("status") or {}).get("conditions")]
        assert not busy, "two Jobs at work at once"

    world.api.on_create = check
    return world


@pytest.fixture(name="migrated")
def migrated_fixture() -> Callable[..., Report]:
    """Build the report of a run that succeeded."""
    return migrated
