"""Which pods may start, and what the counts mean."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from lockgate.decide.gate import GateCounts, app_pod, count, opening_patch, to_open
from lockgate.decide.satisfied import Satisfied, Want, read_satisfied
from lockgate.errors import Forbidden

NOW = datetime(2026, 11, 21, 8, 0, 0, tzinfo=timezone.utc)
RECORD = Satisfied("db", NOW, revisions=("d41", "c3f"), images=(("shop:2", "d41"), ("shop:1", "c3f")))


def pod(name: str = "app", *, image: str = "shop:9", held: bool = False, age: int = 0, **more: Any) -> dict[str, Any]:
    created = (NOW - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": created,
            "labels": more.get("labels", {}),
            "annotations": more.get("annotations", {}),
            **({"deletionTimestamp": created} if more.get("deleting") else {}),
        },
        "spec": {
            "containers": [{"name": "proxy", "image": "envoy:1"}, {"name": "app", "image": image}],
            "schedulingGates": [{"name": "example.com/other"}, *([{"name": "lockgate.dev/migration"}] if held else [])],
        },
        "status": {"phase": more.get("phase", "Pending")},
    }


COVERED = {
    "one of its images is satisfied": (pod(image="shop:1"), True),
    "none of its images is satisfied": (pod(image="shop:3"), False),
    "its revision is there, although its image never ran": (pod(labels={"lockgate.dev/revision": "c3f"}), True),
    "its revision is not there, although its image ran": (
        pod(image="shop:1", labels={"lockgate.dev/revision": "e52"}),
        False,
    ),
    "its migration image ran": (pod(annotations={"lockgate.dev/migration-image": "shop:2"}), True),
    "its migration image did not run, although its own did": (
        pod(image="shop:1", annotations={"lockgate.dev/migration-image": "shop:3"}),
        False,
    ),
    "it claims to be covered": (pod(annotations={"lockgate.dev/covered-by": "shop"}), False),
}


@pytest.mark.parametrize("case", COVERED)
def test_a_pod_is_covered_when(case: str) -> None:
    body, expected = COVERED[case]

    assert RECORD.covers(app_pod(body).want) is expected


def test_only_held_pods_that_are_covered_or_bypassed_are_opened() -> None:
    pods = [
        pod("covered", image="shop:1", held=True),
        pod("waiting", held=True),
        pod("free", image="shop:1"),
        pod("bypassed", held=True, annotations={"lockgate.dev/bypass": "INC-7"}),
        pod("bypass-without-reason", held=True, annotations={"lockgate.dev/bypass": ""}),
        pod("going", image="shop:1", held=True, deleting=True),
    ]

    assert [one.name for one in to_open(map(app_pod, pods), RECORD)] == ["covered", "bypassed"]


def test_the_patch_removes_our_gate_from_exactly_this_pod() -> None:
    assert opening_patch(app_pod(pod("app", held=True))) == {
        "metadata": {"uid": "uid-app"},
        "spec": {"schedulingGates": [{"name": "lockgate.dev/migration", "$patch": "delete"}]},
    }


def test_present_pods_are_counted_by_how_they_relate_to_the_gate() -> None:
    pods = [
        pod("held", held=True),
        pod("opened", image="shop:2"),
        pod("opened-too", image="shop:1", phase="Running"),
        pod("bypassed", annotations={"lockgate.dev/bypass": "INC-7"}),
        pod("unguarded", phase="Running"),
        pod("done", phase="Succeeded"),
        pod("going", deleting=True),
    ]

    assert count(map(app_pod, pods), RECORD) == GateCounts(held=1, opened=2, bypassed=1, unguarded=1)


def test_a_pod_from_before_the_record_began_is_not_called_unguarded() -> None:
    pods = [pod("older", age=1), pod("newer", age=0)]

    assert count(map(app_pod, pods), RECORD).unguarded == 1


def test_a_new_record_judges_pods_that_came_with_the_resource_but_none_from_long_before() -> None:
    created = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    record = read_satisfied({}, database="db", created=created, now=NOW + timedelta(hours=1))

    pods = [pod("helm-made-it-just-before", age=5), pod("ran-since-yesterday", age=86400)]
    assert count(map(app_pod, pods), record).unguarded == 1


def test_a_record_of_another_database_starts_anew_from_now() -> None:
    status = {"satisfied": RECORD.for_status()}

    same = read_satisfied(status, database="db", created="2026-11-20T00:00:00Z", now=NOW)
    other = read_satisfied(status, database="other", created="2026-11-20T00:00:00Z", now=NOW)

    assert same == RECORD
    assert other == Satisfied("other", NOW)


def test_the_record_keeps_the_newest_images_and_those_that_a_present_pod_wants() -> None:
    record = Satisfied("db", NOW)
    for number in range(150):
        record = record.extended(f"shop:{number}", "r", [f"r{number}"], [Want(own_images=("envoy:1", "shop:3"))])

    names = [image for image, _ in record.images]
    assert len(names) == 101
    assert names[:2] == ["shop:149", "shop:148"]
    assert names[-2:] == ["shop:50", "shop:3"]
    assert len(record.revisions) == 150


def test_an_image_that_runs_again_is_listed_once_and_first() -> None:
    record = RECORD.extended("shop:1", "e52", ["e52"], [])

    assert record.images == (("shop:1", "e52"), ("shop:2", "d41"))
    assert record.revisions == ("e52", "d41", "c3f")


async def test_unguarded_pods_are_told_of_once(world: Any) -> None:
    world.migration()
    await world.settle()
    world.app_pod("slipped-through", held=False)

    await world.settle()
    await world.settle()

    assert world.status()["gate"]["unguarded"] == 1
    assert world.told.state["default/shop"]["unguarded"] == 1
    told = [note for kind, reason, note in world.told.events if (kind, reason) == ("Warning", "UnguardedPods")]
    assert told == ["1 pod started without the schema being there: no gate was at work when created."]


FREED = {
    "it was held and a person removed the gate": ({"lockgate.dev/gated": "true"}, GateCounts(bypassed=1)),
    "it was covered when it was created": (
        {"lockgate.dev/gated": "true", "lockgate.dev/covered-by": "shop"},
        GateCounts(),
    ),
    "it says why it starts in any case": ({"lockgate.dev/bypass": "INC-7"}, GateCounts(bypassed=1)),
    "no policy has looked at it": ({}, GateCounts(unguarded=1)),
}


@pytest.mark.parametrize("case", FREED)
def test_an_uncovered_pod_that_runs_is_unguarded_only_where_no_gate_was_at_work(case: str) -> None:
    annotations, expected = FREED[case]

    assert count([app_pod(pod(annotations=annotations, phase="Running"))], RECORD) == expected


async def test_pods_that_run_while_revisions_are_taken_back_are_not_called_unguarded(world: Any, migrated: Any) -> None:
    world.migration(policy={"downgrade": "Allow"})
    await world.succeed(migrated(reached=("b2",), revisions=("b1", "b2")))
    world.edit(image="shop:2")
    await world.succeed(migrated(reached=("m4",), revisions=("b1", "b2", "m4")))
    world.app_pod("new", image="shop:2", held=False)
    world.pass_time(60)
    world.edit(image="shop:1")
    await world.succeed(
        migrated(reason="DatabaseAhead", reached=("m4",), target=("b2",), revisions=("b1", "b2", "m4"), ahead=("m4",))
    )
    assert "shop:2" not in [entry["image"] for entry in world.status()["satisfied"]["images"]]

    assert world.status()["gate"]["unguarded"] == 0
    world.pass_time(60)
    world.app_pod("slipped-through", image="shop:2", held=False)
    await world.settle()
    assert world.status()["gate"]["unguarded"] == 1


async def test_a_pod_that_wants_what_nothing_brings_is_told_so_and_named_in_the_status(world: Any) -> None:
    world.migration()
    await world.succeed()
    world.app_pod("mirrored", image="docker.io/shop:1")
    world.pass_time(10)

    await world.settle()
    await world.settle()

    assert world.ready()["status"] == "True"
    said = "Pod mirrored is held: it wants image docker.io/shop:1, and there is image shop:1 (revision d41)."
    assert world.ready()["message"].endswith(said)
    assert world.status()["gate"]["uncovered"] == [{"pod": "mirrored", "wants": "image docker.io/shop:1"}]
    [(name, reason, note)] = world.told.pod_events
    assert (name, reason) == ("mirrored", "PodHeld")
    assert "it wants image docker.io/shop:1, and the newest that the database has is image shop:1." in note
    assert "lockgate.dev/migration-image" in note


async def test_a_pod_that_wants_another_revision_is_told_which_one_there_is(world: Any) -> None:
    world.migration()
    await world.succeed()
    world.app_pod("app", labels={"lockgate.dev/revision": "e52"})
    world.pass_time(10)

    await world.settle()

    assert "Pod app is held: it wants revision e52, and there is revision d41." in world.ready()["message"]


async def test_many_such_pods_are_counted_and_the_first_ten_are_told(world: Any) -> None:
    world.migration()
    await world.succeed()
    for number in range(12):
        world.app_pod(f"app-{number:02}", image="mirror/shop:1")
    world.pass_time(10)

    await world.settle()

    assert "Pod app-00 is held" in world.ready()["message"]
    assert "11 further pods of this kind." in world.ready()["message"]
    assert [name for name, *_ in world.told.pod_events] == [f"app-{number:02}" for number in range(10)]


async def test_a_pod_that_waits_for_the_run_on_its_way_is_not_among_them(world: Any, migrated: Any) -> None:
    world.migration()
    await world.succeed()
    world.app_pod("new", image="shop:2")
    await world.settle()
    assert await world.reconcile() <= 10, "the resource may hear of its image in a moment"
    world.edit(image="shop:2")
    world.pass_time(60)
    await world.settle()
    assert "uncovered" not in world.status()["gate"]

    await world.succeed(migrated())

    assert world.held() == []
    assert world.told.pod_events == []


async def test_a_held_pod_of_another_release_is_told_also_while_a_run_is_on_its_way(world: Any) -> None:
    world.migration(image="shop:2")
    world.app_pod("old", image="shop:1")
    world.app_pod("new", image="shop:2")
    world.pass_time(10)

    await world.settle()

    assert world.status()["gate"]["uncovered"] == [{"pod": "old", "wants": "image shop:1"}]
    assert [name for name, *_ in world.told.pod_events] == ["old"]


async def test_a_pod_that_cannot_be_opened_does_not_keep_the_others(world: Any) -> None:
    world.migration()
    await world.succeed()
    for name in ("a", "b", "c"):
        world.app_pod(name)
    real = world.api.patch

    async def patch(kind: Any, namespace: str, name: str, *args: Any, **more: Any) -> Any:
        if name == "b":
            raise Forbidden("no")
        return await real(kind, namespace, name, *args, **more)

    world.api.patch = patch
    with pytest.raises(Forbidden):
        await world.reconcile()

    assert world.held() == ["b"]
    assert world.told.gates == 2
