"""The watch against a small stand-in for the API server's discovery, lists and streams."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from lockgate.api.connection import Credentials
from lockgate.process.watch import STREAMS, Stream, Watch

RESOURCES = {
    "/api/v1": [("pods", "Pod"), ("namespaces", "Namespace"), ("events", "Event")],
    "/apis/batch/v1": [("jobs", "Job")],
    "/apis/lockgate.dev/v1alpha1": [("databasemigrations", "DatabaseMigration")],
    "/apis/apiextensions.k8s.io/v1": [("customresourcedefinitions", "CustomResourceDefinition")],
}


class Api:
    def __init__(self) -> None:
        self.address = ""
        self.token = ""
        self.refuse = 0
        self.lists: list[tuple[str, dict[str, str]]] = []
        self.methods: set[str] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.methods.add(request.method)
        if self.refuse:
            return web.json_response({"kind": "Status", "code": self.refuse}, status=self.refuse)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"kind": "Status", "code": 401}, status=401)
        found = self._discovery(request.path)
        if found is not None:
            return web.json_response(found)
        return await self._objects(request)

    def _discovery(self, path: str) -> dict | None:
        if path == "/api":
            return {"versions": ["v1"]}
        if path == "/apis":
            groups = [root.split("/")[2:] for root in RESOURCES if root.startswith("/apis/")]
            versions = {group: {"version": version, "groupVersion": f"{group}/{version}"} for group, version in groups}
            return {"groups": [{"name": g, "preferredVersion": v, "versions": [v]} for g, v in versions.items()]}
        if path in RESOURCES:
            verbs = ["list", "watch", "get", "patch"]
            return {
                "resources": [
                    {"name": plural, "kind": kind, "singularName": "", "namespaced": True, "verbs": verbs}
                    for plural, kind in RESOURCES[path]
                ]
            }
        return None

    async def _objects(self, request: web.Request) -> web.StreamResponse:
        plural = request.path.rsplit("/", 1)[-1]
        labels = {
            "lockgate.dev/migration": {"lockgate.dev/migration": "waits"},
            "lockgate.dev/run-of": {"lockgate.dev/run-of": f"runs-{plural}"},
            "": {},
        }[request.query.get("labelSelector", "")]
        metadata = {"namespace": "ns", "name": "shop", "uid": plural + str(labels), "labels": labels}
        if request.query.get("watch") != "true":
            self.lists.append((request.path, dict(request.query)))
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": [{"metadata": metadata}]})
        answer = web.StreamResponse()
        await answer.prepare(request)
        change = {"type": "DELETED", "object": {"metadata": metadata | {"resourceVersion": "2"}}}
        await answer.write(json.dumps(change).encode() + b"\n")
        await asyncio.sleep(60)
        return answer


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    api = Api()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield api
    await runner.cleanup()


class Watched:
    """A watch and the keys that came out of it."""

    def __init__(self, api: Api, tokens: list[str], namespaces: tuple[str, ...] = ()) -> None:
        self.keys: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.logins = 0
        loop = asyncio.get_running_loop()

        async def login() -> Credentials:
            self.logins += 1
            token = tokens[min(self.logins, len(tokens)) - 1]
            return Credentials(api.address, None, token, None, None, insecure=False)

        self.watch = Watch(
            login=login, changed=lambda key: loop.call_soon_threadsafe(self.keys.put_nowait, key), namespaces=namespaces
        )

    async def sees(self, *names: str) -> None:
        missing = set(names)
        async with asyncio.timeout(20):
            while missing:
                missing.discard((await self.keys.get())[1])

    async def end(self) -> None:
        self.watch.stop()
        async with asyncio.timeout(20):
            await self.watch.ended()


async def test_every_stream_is_selected_by_the_server_and_nothing_is_written(api: Api) -> None:
    watched = Watched(api, ["any"], namespaces=("ns",))
    watched.watch.start()
    await watched.sees("shop", "waits", "runs-jobs", "runs-pods")
    await watched.end()
    assert sorted((path, query.get("labelSelector", ""), query["limit"]) for path, query in api.lists) == [
        ("/api/v1/namespaces/ns/pods", "lockgate.dev/migration", "500"),
        ("/api/v1/namespaces/ns/pods", "lockgate.dev/run-of", "500"),
        ("/apis/batch/v1/namespaces/ns/jobs", "lockgate.dev/run-of", "500"),
        ("/apis/lockgate.dev/v1alpha1/namespaces/ns/databasemigrations", "", "500"),
    ]
    assert api.methods == {"GET"}


async def test_without_namespaces_the_whole_cluster_is_watched(api: Api) -> None:
    watched = Watched(api, ["any"])
    watched.watch.start()
    await watched.sees("shop", "waits", "runs-jobs", "runs-pods")
    await watched.end()
    assert {path for path, _ in api.lists} == {
        "/api/v1/pods",
        "/apis/batch/v1/jobs",
        "/apis/lockgate.dev/v1alpha1/databasemigrations",
    }


async def test_a_token_that_has_expired_is_replaced_by_a_new_one(api: Api) -> None:
    api.token = "new"
    watched = Watched(api, ["old", "old", "new"])
    watched.watch.start()
    await watched.sees("shop", "waits", "runs-jobs", "runs-pods")
    await watched.end()
    assert watched.logins > 2


async def test_a_watch_that_cannot_go_on_says_so(api: Api) -> None:
    api.refuse = 400
    watched = Watched(api, ["any"])
    watched.watch.start()
    with pytest.raises(RuntimeError, match="The watch ended: APIClientError"):
        async with asyncio.timeout(20):
            await watched.watch.ended()
    async with asyncio.timeout(20):
        while watched.watch.alive or any(thread.name.startswith("watch-") for thread in threading.enumerate()):
            await asyncio.sleep(0.01)


def test_a_resource_is_watched_at_most_once_by_each_operator_of_kopf() -> None:
    for streams in STREAMS:
        plurals = [stream.plural for stream in streams]
        assert len(plurals) == len(set(plurals))


def test_an_object_that_lost_its_label_concerns_nobody() -> None:
    stream = Stream("", "v1", "pods", "lockgate.dev/migration")
    assert stream.key({"namespace": "ns", "name": "p"}) is None
    assert stream.key({"namespace": "ns", "name": "p", "labels": {"lockgate.dev/migration": "shop"}}) == ("ns", "shop")
