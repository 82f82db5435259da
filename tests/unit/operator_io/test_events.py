from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from lockgate.api.events import Events
from lockgate.errors import Forbidden, Missing

SHOP = {
    "apiVersion": "lockgate.dev/v1alpha1",
    "kind": "DatabaseMigration",
    "metadata": {"namespace": "ns", "name": "shop", "uid": "u1", "resourceVersion": "7"},
    "spec": {},
}


class EventServer:
    def __init__(self) -> None:
        self.events: dict[str, dict] = {}
        self.broken: Exception | None = None

    async def create(self, kind, namespace, body):
        if self.broken:
            raise self.broken
        assert kind.api_version == "events.k8s.io/v1"
        assert body["metadata"]["namespace"] == namespace
        assert body["metadata"]["name"] not in self.events
        self.events[body["metadata"]["name"]] = dict(body)
        return body

    async def patch(self, kind, namespace, name, body, *, content_type):
        if self.broken:
            raise self.broken
        if name not in self.events:
            raise Missing("expired")
        assert content_type == "application/merge-patch+json"
        self.events[name] |= body
        return self.events[name]


class Today:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 8, 0, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def server() -> EventServer:
    return EventServer()


@pytest.fixture
def today() -> Today:
    return Today()


@pytest.fixture
def events(server: EventServer, today: Today) -> Events:
    return Events(server, instance="lockgate-5f-x", today=today)


async def test_an_event_says_what_where_and_who(events: Events, server: EventServer) -> None:
    await events.emit(SHOP, "Warning", "MigrationFailed", "Migrate", "revision 9f2c failed")
    (event,) = server.events.values()
    assert event["metadata"]["name"].startswith("shop.")
    assert event["regarding"] == {
        "apiVersion": "lockgate.dev/v1alpha1",
        "kind": "DatabaseMigration",
        "namespace": "ns",
        "name": "shop",
        "uid": "u1",
        "resourceVersion": "7",
    }
    assert event["type"] == "Warning"
    assert event["reason"] == "MigrationFailed"
    assert event["action"] == "Migrate"
    assert event["note"] == "revision 9f2c failed"
    assert event["reportingController"] == "lockgate.dev/operator"
    assert event["reportingInstance"] == "lockgate-5f-x"
    assert event["eventTime"] == "2026-11-21T08:00:00.000000Z"
    assert "series" not in event


async def test_a_repetition_is_counted_and_not_posted_again(events: Events, server: EventServer, today: Today) -> None:
    for _ in range(5):
        await events.emit(SHOP, "Warning", "LockBusy", "Migrate", "held by pid 4711")
        today.pass_by(minutes=10)
    (event,) = server.events.values()
    assert event["series"] == {"count": 5, "lastObservedTime": "2026-11-21T08:40:00.000000Z"}


async def test_a_repetition_much_later_is_an_event_of_its_own(
    events: Events, server: EventServer, today: Today
) -> None:
    for _ in range(2):
        await events.emit(SHOP, "Normal", "Succeeded", "Migrate", "done")
        today.pass_by(minutes=16)
    assert len(server.events) == 2


@pytest.mark.parametrize("changed", ["note", "reason", "uid"])
async def test_what_differs_is_not_counted_together(
    events: Events, server: EventServer, today: Today, changed: str
) -> None:
    await events.emit(SHOP, "Normal", "Started", "Migrate", "step 1")
    today.pass_by(seconds=1)
    other = {**SHOP, "metadata": SHOP["metadata"] | ({"uid": "u2"} if changed == "uid" else {})}
    reason = "Finished" if changed == "reason" else "Started"
    await events.emit(other, "Normal", reason, "Migrate", "step 2" if changed == "note" else "step 1")
    assert len(server.events) == 2


async def test_a_series_whose_event_has_expired_starts_anew(events: Events, server: EventServer, today: Today) -> None:
    await events.emit(SHOP, "Normal", "Started", "Migrate", "note")
    server.events.clear()
    today.pass_by(minutes=1)
    await events.emit(SHOP, "Normal", "Started", "Migrate", "note")
    (event,) = server.events.values()
    assert "series" not in event


async def test_a_long_note_is_cut_to_what_the_api_takes(events: Events, server: EventServer) -> None:
    await events.emit(SHOP, "Normal", "Started", "Migrate", "ä" * 2000)
    (event,) = server.events.values()
    assert len(event["note"].encode()) <= 1024
    assert event["note"].endswith("ä…")


async def test_an_event_that_cannot_be_posted_is_only_logged(
    events: Events, server: EventServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.broken = Forbidden("Cannot create events ns/shop.1: no.")
    await events.emit(SHOP, "Normal", "Started", "Migrate", "note")
    assert "Event Started about ns/shop is lost. Cannot create events" in caplog.text


async def test_the_memory_of_events_is_bounded(events: Events, server: EventServer, today: Today) -> None:
    for number in range(1100):
        today.pass_by(milliseconds=1)
        await events.emit(SHOP, "Normal", "Started", "Migrate", str(number))
    assert len(events._posted) == 1000
    await events.emit(SHOP, "Normal", "Started", "Migrate", "1099")
    assert len(server.events) == 1100, "the newest are remembered"
