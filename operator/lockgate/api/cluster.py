"""What the operator asks of the Kubernetes API: dicts in, dicts out, otherwise one leaf of `ClusterError`.

Nothing is retried here: the work queue does that, with a back-off per resource. Nothing is cached either: every read
asks the server, so that a decision never rests on something stale. Only kopf's watches do not come through here.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

from lockgate.api.connection import ApiServer
from lockgate.api.failures import Call
from lockgate.errors import Gone
from lockgate.port import DATABASE_MIGRATION, EVENT, JOB, LEASE, POD, Kind, Object

__all__ = ["DATABASE_MIGRATION", "EVENT", "JOB", "LEASE", "POD", "Cluster", "Kind"]

Objects = list[Object]
"""As a name, because `Cluster.list` hides the builtin from what follows it in the class."""

APPLY = "application/apply-patch+yaml; charset=utf-8"
"""With the charset, the client library leaves the text as it is given."""
NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
CHUNK = 500
LOG_CAP = 4 * 1024 * 1024
"""Bytes of a log the kubelet may send; its own limit cuts off the end, and the end is what we want."""


class Cluster:
    """The port to the cluster; satisfies `lockgate.port.ClusterPort`, and has in addition what the Lease needs."""

    def __init__(self, server: ApiServer, *, timeout: float = 15.0, field_manager: str = "lockgate") -> None:
        """``timeout``: seconds for a whole request; a list has that per chunk of 500."""
        self._server = server
        self._timeout = timeout
        self._field_manager = field_manager

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object, or raise Missing."""
        return await self._json("get", "GET", kind, namespace, name)

    async def list(
        self, kind: Kind, namespace: str | None, *, label_selector: str = "", field_selector: str = ""
    ) -> list[Object]:
        """Return all objects that match, of one namespace or (None) of all; read in chunks."""
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        query = {name: selector for name, selector in selectors.items() if selector}
        try:
            return await self._list(kind, namespace, query)
        except Gone:  # a list that takes longer than etcd keeps its revision (5 min): once more from the start
            return await self._list(kind, namespace, query)

    async def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Create an object; AlreadyExists if there is one. A field the server does not know is Invalid, not dropped."""
        query = {"fieldManager": self._field_manager, "fieldValidation": "Strict"}
        name = body["metadata"].get("name", "")
        path = _path(kind, namespace)
        return _object(await self._send(_call("create", kind, namespace, name), "POST", path, query=query, body=body))

    async def replace(self, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        """Replace an object; Conflict unless ``metadata.resourceVersion`` is the current one."""
        return await self._json("update", "PUT", kind, namespace, name, body=body)

    async def apply_status(self, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        """Apply ``status`` on the server side, as its only owner: fields left out are removed."""
        query = {"fieldManager": self._field_manager, "force": "true"}
        path = _path(kind, namespace, name, "status")
        call = _call("patch", kind, namespace, name, "status")
        return _object(await self._send(call, "PATCH", path, query=query, body=_yaml(body), content_type=APPLY))

    async def patch(
        self, kind: Kind, namespace: str, name: str, body: Any, *, content_type: str = "application/merge-patch+json"
    ) -> Object:
        """Patch an object; a JSON patch is a list, a merge or strategic merge patch a dict."""
        return await self._json("patch", "PATCH", kind, namespace, name, body=body, content_type=content_type)

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        uid: str,
        resource_version: str | None = None,
        propagation: str = "Background",
    ) -> None:
        """Delete exactly the object that was seen: Conflict if ``uid`` or ``resource_version`` is no longer current."""
        preconditions = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": preconditions,
        }
        call = _call("delete", kind, namespace, name)
        await self._send(call, "DELETE", _path(kind, namespace, name), body=options)

    async def pod_log(self, namespace: str, name: str, container: str, *, tail_lines: int, limit_bytes: int) -> str:
        """Return the end of a container's log: at most so many lines and, of these, the last ``limit_bytes`` bytes.

        Invalid (the server says 400) while the container has not started.
        """
        query = {"container": container, "tailLines": str(tail_lines), "limitBytes": str(LOG_CAP)}
        call = _call("get", POD, namespace, name, "log")
        log = await self._send(call, "GET", _path(POD, namespace, name, "log"), query=query)
        return log[-limit_bytes:].decode(errors="replace")

    async def check_access(self, kind: Kind, namespace: str | None) -> None:
        """List one object: Missing where the kind is not installed, Forbidden where the right to list it is missing."""
        await self._send(_call("list", kind, namespace, ""), "GET", _path(kind, namespace), query={"limit": "1"})

    async def ping(self) -> None:
        """Ask for the server's version, which needs no right: Unavailable where it cannot be reached."""
        await self._send(Call("get", "", "version", name="/version"), "GET", "/version")

    async def _list(self, kind: Kind, namespace: str | None, selectors: dict[str, str]) -> Objects:
        items: Objects = []
        query = {"limit": str(CHUNK)} | selectors
        while True:
            answer = await self._send(_call("list", kind, namespace, ""), "GET", _path(kind, namespace), query=query)
            page = _object(answer)
            # Items of a list do not say what they are; whoever gets one on its own wants to know.
            items += [{"apiVersion": kind.api_version, "kind": kind.kind} | item for item in page["items"]]
            following = page["metadata"].get("continue")
            if not following:
                return items
            query = query | {"continue": following}

    async def _json(
        self,
        verb: str,
        method: str,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        query = None if body is None else {"fieldManager": self._field_manager}
        call, path = _call(verb, kind, namespace, name), _path(kind, namespace, name)
        return _object(await self._send(call, method, path, query=query, body=body, content_type=content_type))

    async def _send(self, call: Call, method: str, path: str, **rest: Any) -> bytes:
        return await self._server.send(call, method, path, timeout=self._timeout, **rest)


def _call(verb: str, kind: Kind, namespace: str | None, name: str, subresource: str = "") -> Call:
    group = kind.api_version.rpartition("/")[0]
    return Call(verb, group, kind.plural + (f"/{subresource}" if subresource else ""), namespace, name)


def _path(kind: Kind, namespace: str | None, name: str = "", subresource: str = "") -> str:
    root = "apis" if "/" in kind.api_version else "api"
    parts = [root, *kind.api_version.split("/"), *(("namespaces", namespace) if namespace else ()), kind.plural]
    parts += [part for part in (name, subresource) if part]
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _yaml(body: Object) -> str:
    """Return JSON that is YAML too, as which an apply is read: there two escapes are no way to write an emoji."""
    text = json.dumps(body, ensure_ascii=False)
    return NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _object(content: bytes) -> Object:
    parsed: Object = json.loads(content)
    return parsed
