"""The record of what pods may rely on follows the database that the reports are of."""

from __future__ import annotations

from typing import Any

from lockgate.report import Failure, ImageTarget, Report

V1 = {"reached": ("b2",), "revisions": ("b1", "b2"), "target": ("b2",), "complete": True}
V2 = {"reached": ("d4",), "revisions": ("b1", "b2", "c3", "d4"), "target": ("d4",), "complete": True}
HERE, ELSEWHERE = "aaaa", "bbbb"


def images(world: Any) -> set[str]:
    return {entry["image"] for entry in world.status()["satisfied"]["images"]}


def failed(**found: Any) -> Report:
    return Report("Failed", "MigrationFailed", "No.", exit_code=20, failure=Failure("d4"), **found)


async def give_up(world: Any, report: Report) -> None:
    await world.settle()
    job = world.job()
    pod = world.run(job)
    world.pass_time(5)
    world.end(pod, report)
    world.fail(job, "PodFailurePolicy")
    await world.settle()


async def with_two_releases(world: Any, migrated: Any) -> None:
    world.migration()
    await world.succeed(migrated(**V1, database=HERE))
    world.edit(image="shop:2")
    await world.succeed(migrated(**V2, database=HERE))
    assert images(world) == {"shop:1", "shop:2"}


async def test_a_database_that_was_reset_satisfies_only_what_it_has(world: Any, migrated: Any) -> None:
    await with_two_releases(world, migrated)
    world.edit(image="shop:1")

    await world.succeed(migrated(**V1, database=ELSEWHERE))

    assert world.status()["satisfied"]["revisions"] == ["b2", "b1"]
    assert world.status()["satisfied"]["identity"] == ELSEWHERE
    assert images(world) == {"shop:1"}
    world.app_pod("new", image="shop:2")
    world.app_pod("old", image="shop:1")
    await world.settle()
    assert world.held() == ["new"]


async def test_the_same_database_restored_satisfies_only_what_it_has(world: Any, migrated: Any) -> None:
    await with_two_releases(world, migrated)
    world.annotate(**{"lockgate.dev/retry": "restored"})
    world.edit(image="shop:1")

    await world.succeed(migrated(**V1, database=HERE))

    assert images(world) == {"shop:1"}


async def test_a_run_that_fails_takes_out_what_it_does_not_find(world: Any, migrated: Any) -> None:
    await with_two_releases(world, migrated)
    world.edit(image="shop:3")

    await give_up(world, failed(reached=("b2",), revisions=("b1", "b2"), complete=True, database=HERE))

    assert images(world) == {"shop:1"}
    assert set(world.status()["satisfied"]["revisions"]) == {"b1", "b2"}


async def test_a_run_that_fails_without_having_seen_all_takes_nothing_out_of_the_same_database(
    world: Any, migrated: Any
) -> None:
    await with_two_releases(world, migrated)
    world.edit(image="shop:3")

    await give_up(world, failed(reached=("b2",), revisions=("b1", "b2"), database=HERE))
    assert images(world) == {"shop:1", "shop:2"}

    world.annotate(**{"lockgate.dev/retry": "1"})
    await give_up(world, failed())  # it never got as far as a database
    assert images(world) == {"shop:1", "shop:2"}
    assert world.status()["satisfied"]["identity"] == HERE


async def test_a_failed_run_in_another_database_leaves_nothing_of_the_record_but_what_that_one_tells(
    world: Any, migrated: Any
) -> None:
    await with_two_releases(world, migrated)
    world.edit(image="shop:3")

    await give_up(world, failed(database=ELSEWHERE, images=(ImageTarget("shop:1", ("b2",)),)))

    assert images(world) == {"shop:1"}
    assert world.status()["satisfied"]["revisions"] == []


async def test_pods_that_were_rightly_let_in_are_not_called_unguarded_after_a_reset(world: Any, migrated: Any) -> None:
    await with_two_releases(world, migrated)
    world.app_pod("new", image="shop:2", held=False)
    await world.settle()
    world.pass_time(60)
    world.edit(image="shop:1")

    await world.succeed(migrated(**V1, database=ELSEWHERE))

    assert world.status()["gate"]["unguarded"] == 0


async def test_a_resource_made_anew_knows_the_images_of_before(world: Any, migrated: Any) -> None:
    world.migration(image="shop:2")
    world.app_pod("lost-and-made-again", image="shop:1")
    world.app_pod("of-no-known-release", image="shop:0")

    await world.succeed(migrated(**V2, database=HERE, reason="NothingToDo", images=(ImageTarget("shop:1", ("b2",)),)))

    assert world.held() == ["of-no-known-release"]
    assert world.status()["satisfied"]["images"] == [
        {"image": "shop:2", "revision": "d4"},
        {"image": "shop:1", "revision": "b2"},
    ]


async def test_a_database_ahead_satisfies_an_image_by_its_own_target(world: Any, migrated: Any) -> None:
    world.migration()

    await world.succeed(migrated(**{**V2, "target": ("b2",)}, reason="DatabaseAhead"))

    assert world.status()["satisfied"]["images"] == [{"image": "shop:1", "revision": "b2"}]


async def test_an_application_of_many_heads_keeps_its_images_while_nothing_is_lost(world: Any, migrated: Any) -> None:
    heads = {"reached": ("a1", "b1", "c1"), "revisions": ("a1", "b1", "c1"), "target": ("a1", "b1", "c1")}
    world.migration()
    await world.succeed(migrated(**heads, complete=True, database=HERE))
    world.edit(image="shop:2")

    await world.succeed(migrated(**heads, complete=True, database=HERE))

    assert images(world) == {"shop:1", "shop:2"}
