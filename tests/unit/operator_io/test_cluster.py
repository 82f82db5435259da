"""The port against a small HTTP server: what is sent, and what comes of the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import certifi
import pytest
import yaml
from aiohttp import web
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import incluster_config

from lockgate.api.cluster import DATABASE_MIGRATION, JOB, LEASE, POD, Cluster
from lockgate.api.connection import ApiServer
from lockgate.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    InvalidConfiguration,
    Missing,
    Throttled,
    Unavailable,
)


class Recorded:
    def __init__(self, method: str, path: str, query: dict[str, str], headers, body: str) -> None:
        self.method, self.path, self.query, self.headers = method, path, query, headers
        self.text = body
        self.body = json.loads(body) if body else None


class Api:
    """Answers with what a test says next, or with an empty object."""

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.answers: list[web.Response | Callable] = []
        self.configuration = Configuration(host="http://127.0.0.1:1")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(
            Recorded(request.method, request.path, dict(request.query), request.headers, await request.text())
        )
        answer = self.answers.pop(0) if self.answers else web.json_response({})
        return await answer(request) if callable(answer) and not isinstance(answer, web.Response) else answer

    def refuse(self, status: int, reason: str = "", message: str = "no", **headers: str) -> None:
        body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status}
        self.answers.append(web.json_response(body, status=status, headers=headers))


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    api = Api()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield api
    await runner.cleanup()


@pytest.fixture
async def cluster(api: Api) -> AsyncIterator[Cluster]:
    server = ApiServer(api.configuration)
    yield Cluster(server, timeout=5)
    await server.close()


async def test_paths_are_those_of_the_api(api: Api, cluster: Cluster) -> None:
    await cluster.get(POD, "ns", "p")
    await cluster.get(JOB, "ns", "j")
    await cluster.get(DATABASE_MIGRATION, "ns", "a/../b")
    await cluster.ping()
    assert [request.path for request in api.requests] == [
        "/api/v1/namespaces/ns/pods/p",
        "/apis/batch/v1/namespaces/ns/jobs/j",
        "/apis/lockgate.dev/v1alpha1/namespaces/ns/databasemigrations/a/../b",  # decoded by the server here
        "/version",
    ]


async def test_a_status_is_applied_by_its_own_field_manager(api: Api, cluster: Cluster) -> None:
    body = {"status": {"phase": "Ready"}, "futureField": 1}
    await cluster.apply_status(DATABASE_MIGRATION, "ns", "shop", body)
    (request,) = api.requests
    assert request.method == "PATCH"
    assert request.path.endswith("/databasemigrations/shop/status")
    assert request.query == {"fieldManager": "lockgate", "force": "true"}
    assert request.headers["Content-Type"].startswith("application/apply-patch+yaml;")
    assert request.body == body


async def test_an_applied_text_is_yaml_whatever_is_in_it(api: Api, cluster: Cluster) -> None:
    body = {"status": {"step": "1/1 d41 \U0001f600 caf\u00e9 \u0085\u2028\ufeff\x7f\x00 end"}}
    await cluster.apply_status(DATABASE_MIGRATION, "ns", "shop", body)
    (request,) = api.requests
    assert request.body == body
    assert yaml.safe_load(request.text) == body


async def test_a_created_object_must_consist_of_known_fields(api: Api, cluster: Cluster) -> None:
    await cluster.create(JOB, "ns", {"metadata": {"name": "j"}})
    assert api.requests[0].query == {"fieldManager": "lockgate", "fieldValidation": "Strict"}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ({"spec": {"schedulingGates": [{"$patch": "delete"}]}}, "application/strategic-merge-patch+json"),
        ({"metadata": {"finalizers": None}}, "application/merge-patch+json"),
        ([{"op": "remove", "path": "/spec"}], "application/json-patch+json"),
    ],
)
async def test_a_patch_keeps_its_kind(api: Api, cluster: Cluster, body, content_type: str) -> None:
    await cluster.patch(POD, "ns", "p", body, content_type=content_type)
    assert api.requests[0].headers["Content-Type"] == content_type
    assert api.requests[0].body == body


async def test_a_delete_names_the_object_that_was_seen(api: Api, cluster: Cluster) -> None:
    await cluster.delete(JOB, "ns", "j", uid="u1", resource_version="7")
    assert api.requests[0].body == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "preconditions": {"uid": "u1", "resourceVersion": "7"},
    }


def _page(names: list[str], following: str = "") -> web.Response:
    items = [{"metadata": {"name": name}} for name in names]
    return web.json_response({"metadata": {"continue": following}, "items": items})


async def test_a_list_is_read_in_chunks_and_its_items_say_what_they_are(api: Api, cluster: Cluster) -> None:
    api.answers += [_page(["a", "b"], "more"), _page(["c"])]
    items = await cluster.list(POD, None, label_selector="lockgate.dev/migration=shop,x in (1,2)")
    assert [item["metadata"]["name"] for item in items] == ["a", "b", "c"]
    assert {(item["apiVersion"], item["kind"]) for item in items} == {("v1", "Pod")}
    first, second = api.requests
    assert first.path == "/api/v1/pods"
    assert first.query == {"limit": "500", "labelSelector": "lockgate.dev/migration=shop,x in (1,2)"}
    assert second.query == first.query | {"continue": "more"}


async def test_a_list_that_expires_on_the_way_starts_over_once(api: Api, cluster: Cluster) -> None:
    api.answers += [_page(["a"], "more")]
    api.refuse(410, "Expired")
    api.answers += [_page(["a", "b"])]
    assert len(await cluster.list(POD, "ns")) == 2
    api.refuse(410, "Expired")
    api.refuse(410, "Expired")
    with pytest.raises(Gone):
        await cluster.list(POD, "ns")


async def test_of_a_log_the_last_bytes_are_kept(api: Api, cluster: Cluster) -> None:
    api.answers.append(web.Response(body=b"x" * 1000 + "\nlast ü\n".encode()))
    text = await cluster.pod_log("ns", "p", "migrate", tail_lines=20, limit_bytes=8)
    assert text == "last ü\n"
    assert api.requests[0].query["container"] == "migrate"
    assert api.requests[0].query["tailLines"] == "20"


@pytest.mark.parametrize(
    ("status", "reason", "leaf"),
    [
        (400, "BadRequest", Invalid),
        (401, "Unauthorized", Forbidden),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", Missing),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Gone", Gone),
        (413, "RequestEntityTooLarge", Invalid),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", Throttled),
        (500, "InternalError", Unavailable),
        (503, "ServiceUnavailable", Unavailable),
        (504, "Timeout", Unavailable),
    ],
)
async def test_every_answer_has_its_error(
    api: Api, cluster: Cluster, status: int, reason: str, leaf: type[ClusterError]
) -> None:
    api.refuse(status, reason, "the server's sentence")
    with pytest.raises(ClusterError) as caught:
        await cluster.replace(LEASE, "ns", "lease", {})
    assert type(caught.value) is leaf
    assert caught.value.message == f"Cannot update leases ns/lease: the server's sentence (HTTP {status})."


async def test_a_missing_right_is_named_as_a_rule_would_name_it(api: Api, cluster: Cluster) -> None:
    api.refuse(403, "Forbidden", "User system:serviceaccount:x cannot patch")
    with pytest.raises(Forbidden) as caught:
        await cluster.apply_status(DATABASE_MIGRATION, "ns", "shop", {})
    assert 'the verb patch on databasemigrations/status in API group "lockgate.dev"' in caught.value.advice


@pytest.mark.parametrize(
    ("sentence", "advice"),
    [
        ('pods "x" is forbidden: exceeded quota: small', "ResourceQuota"),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', "admission policy"),
        ("ValidatingAdmissionPolicy 'guard' denied request", "admission policy"),
        ("unable to create new content in namespace x because it is being terminated", "being deleted"),
    ],
)
async def test_what_is_no_missing_right_is_not_called_one(
    api: Api, cluster: Cluster, sentence: str, advice: str
) -> None:
    api.refuse(403, "Forbidden", sentence)
    with pytest.raises(Forbidden) as caught:
        await cluster.create(JOB, "ns", {"metadata": {"name": "j"}})
    assert advice in caught.value.advice
    assert "verb" not in caught.value.advice


async def test_a_kind_that_is_not_installed_is_said_to_be(api: Api, cluster: Cluster) -> None:
    api.answers.append(web.Response(status=404, text="404 page not found\n"))
    with pytest.raises(Missing, match="Install the chart's CustomResourceDefinition"):
        await cluster.check_access(DATABASE_MIGRATION, None)


async def test_an_outdated_definition_is_said_to_be(api: Api, cluster: Cluster) -> None:
    api.refuse(500, "InternalError", "failed to create typed patch object: .status.new: field not declared in schema")
    with pytest.raises(Invalid, match="older than the operator"):
        await cluster.apply_status(DATABASE_MIGRATION, "ns", "shop", {})


async def test_retry_after_comes_along(api: Api, cluster: Cluster) -> None:
    api.refuse(429, "TooManyRequests", **{"Retry-After": "7"})
    with pytest.raises(Throttled) as caught:
        await cluster.get(POD, "ns", "p")
    assert caught.value.retry_after == 7


async def test_a_long_answer_is_shortened(api: Api, cluster: Cluster) -> None:
    api.refuse(422, "Invalid", "word " * 1000)
    with pytest.raises(Invalid) as caught:
        await cluster.get(POD, "ns", "p")
    assert len(str(caught.value)) < 800


async def test_a_server_that_does_not_answer_in_time_is_unavailable(api: Api) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        raise AssertionError

    api.answers.append(hang)
    server = ApiServer(api.configuration)
    with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
        await Cluster(server, timeout=0.2).get(POD, "ns", "p")
    await server.close()


async def test_an_answer_that_stops_in_the_middle_is_unavailable(api: Api) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b'{"metadata"')
        assert request.transport
        request.transport.abort()
        return answer

    api.answers.append(half)
    server = ApiServer(api.configuration)
    with pytest.raises(Unavailable):
        await Cluster(server, timeout=5).patch(POD, "ns", "p", {})
    await server.close()


async def test_nobody_listening_is_unavailable() -> None:
    server = ApiServer(Configuration(host="http://127.0.0.1:1"))
    with pytest.raises(Unavailable, match="no connection"):
        await Cluster(server).ping()
    await server.close()


async def test_a_service_account_token_is_read_again_when_it_was_renewed(
    api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first")
    # any certificate authority will do: the server below speaks plain HTTP
    authority.write_text(_some_certificate())
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    server = await ApiServer.connect()
    assert server.address == "https://127.0.0.1:6443"
    assert (await server.credentials()).token == "first"

    token.write_text("second")
    assert (await server.credentials()).token == "first", "not with every request"
    _let_a_minute_pass(monkeypatch)
    credentials = await server.credentials()
    assert credentials.token == "second"
    assert "second" not in repr(credentials)
    await server.close()


async def test_without_any_login_it_says_what_to_give(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(InvalidConfiguration, match="name a kubeconfig"):
        await ApiServer.connect(str(tmp_path / "none"))


def _some_certificate() -> str:
    whole = Path(certifi.where()).read_text()
    return whole[whole.index("-----BEGIN") : whole.index("-----END") + len("-----END CERTIFICATE-----\n")]


def _let_a_minute_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    real = incluster_config.datetime

    class Later(real.datetime):
        @classmethod
        def now(cls, tz=None):
            return real.datetime.now(tz) + real.timedelta(seconds=61)

    class Module:
        datetime, timedelta = Later, real.timedelta

    monkeypatch.setattr(incluster_config, "datetime", Module)
