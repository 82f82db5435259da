"""A status that the API server does not take: told of, tried again, and nothing else hangs on it."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.errors import Forbidden, Invalid
from lockgate.port import DATABASE_MIGRATION, JOB

REFUSALS = {"Invalid": Invalid('status.revision: Invalid value: "null"'), "Forbidden": Forbidden("no right to patch")}


def refuse_all_that_is_new(world: Any) -> None:
    """Let the API server take only what says that it refuses: as an old CRD does with a field that it does not know."""
    real = world.api.apply_status

    async def apply_status(kind: Any, namespace: str, name: str, body: Any) -> Any:
        ready = next(c for c in body["status"]["conditions"] if c["type"] == "Ready")
        if ready["reason"] != "StatusRefused":
            raise REFUSALS["Invalid"]
        return await real(kind, namespace, name, body)

    world.api.apply_status = apply_status


@pytest.mark.parametrize("error", REFUSALS)
async def test_a_refused_status_is_an_event_and_a_figure_and_starts_no_run(world: Any, error: str) -> None:
    world.migration()
    world.api.refuse["apply_status", DATABASE_MIGRATION.plural] = REFUSALS[error]

    assert await world.reconcile() == 60

    assert world.told.refused == [error]
    [(kind, reason, note)] = world.told.events
    assert (kind, reason) == ("Warning", "StatusRefused")
    assert REFUSALS[error].message in note
    assert "Apply the CustomResourceDefinition of the operator's release" in note
    assert world.api.all(JOB) == []

    del world.api.refuse["apply_status", DATABASE_MIGRATION.plural]
    await world.succeed()
    assert world.ready()["status"] == "True"


async def test_what_the_server_still_takes_says_that_it_refuses_and_keeps_what_was_known(world: Any) -> None:
    world.migration()
    await world.succeed()
    before = world.status()
    world.edit(image="shop:2")
    refuse_all_that_is_new(world)

    await world.settle()

    status = world.status()
    assert (status["phase"], world.ready()["status"], world.ready()["reason"]) == ("Blocked", "False", "StatusRefused")
    assert status["observedGeneration"] == 2
    assert world.condition("Stalled")["status"] == "True"
    assert (status["satisfied"], status["history"]) == (before["satisfied"], before["history"])

    del world.api.apply_status
    await world.succeed()
    assert world.ready()["status"] == "True"
    assert [entry["image"] for entry in world.status()["history"]] == ["shop:2", "shop:1"]


@pytest.mark.parametrize("error", REFUSALS)
async def test_the_deletion_goes_on_when_the_job_has_ended_although_no_status_is_taken(
    world: Any, migrated: Any, error: str
) -> None:
    body = world.migration()
    await world.settle()
    job = world.job()
    pod = world.run(job)
    await world.settle()
    world.api.refuse["apply_status", DATABASE_MIGRATION.plural] = REFUSALS[error]

    world.api.mark_deleted(DATABASE_MIGRATION, body)
    await world.settle()
    assert world.api.all(DATABASE_MIGRATION) == [body], "a migration is never killed"
    world.end(pod, migrated())
    world.complete(job)
    await world.settle()

    assert world.api.all(DATABASE_MIGRATION) == []


async def test_covered_pods_start_although_no_status_is_taken(world: Any) -> None:
    world.migration()
    await world.succeed()
    world.edit(image="shop:2")
    world.api.refuse["apply_status", DATABASE_MIGRATION.plural] = REFUSALS["Invalid"]
    world.app_pod("of-the-old-release", image="shop:1")
    world.app_pod("of-the-new-release", image="shop:2")

    await world.settle()

    assert world.held() == ["of-the-new-release"]


async def test_another_database_while_a_job_runs_leads_to_a_run_there(world: Any, migrated: Any) -> None:
    world.migration()
    await world.succeed()
    world.edit(image="shop:2")
    await world.settle()
    job = world.job()
    pod = world.run(job)
    world.edit(database={"urlFrom": {"secretKeyRef": {"name": "other", "key": "url"}}})
    await world.settle()
    world.end(pod, migrated())
    world.complete(job)

    await world.succeed()

    assert world.ready()["status"] == "True"
    assert world.told.refused == []
    assert not world.api.find(DATABASE_MIGRATION, "shop")["metadata"]["finalizers"]
