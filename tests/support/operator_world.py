"""An API server in memory, with what matters of the real one, and a Job controller and kubelet to be played by hand."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from crd_schema import objections, status_schema

from lockgate.controller import Controller
from lockgate.errors import AlreadyExists, ClusterError, Conflict, Invalid, Missing, Unavailable
from lockgate.job.pod_template import Injection
from lockgate.port import DATABASE_MIGRATION, EVENT, JOB, POD, Kind, Object
from lockgate.report import Progress, Report, progress_line, report_line, termination_message

NAMESPACE = "default"
START = datetime(2026, 11, 21, 8, 0, 0, tzinfo=timezone.utc)


def stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


class Api:
    """Implements ClusterPort: resource versions, preconditions, finalizers, garbage collection, gate patches."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.logs: dict[str, str] = {}
        self.schema = status_schema()
        self.statuses: list[Object] = []
        self.calls: list[str] = []
        self.writes: list[str] = []
        self.refuse: dict[tuple[str, str], ClusterError] = {}
        self.fail_at: int | None = None
        self.fail_after_effect = False
        self.on_create: Callable[[Kind, Object], None] = lambda _kind, _body: None
        self._numbers = itertools.count(1)

    # what the controller calls

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        with self._call("get", kind):
            return copy.deepcopy(self._find(kind, namespace, name))

    async def list(
        self, kind: Kind, namespace: str | None, *, label_selector: str = "", field_selector: str = ""
    ) -> list[Object]:
        with self._call("list", kind):
            key, _, value = label_selector.partition("=")
            uid = field_selector.removeprefix("regarding.uid=")
            return [
                copy.deepcopy(body)
                for (plural, where, _), body in sorted(self.objects.items())
                if plural == kind.plural
                and namespace in (None, where)
                and (not key or (body["metadata"].get("labels") or {}).get(key) == value)
                and (not uid or body["regarding"]["uid"] == uid)
            ]

    async def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        with self._call("create", kind):
            self.on_create(kind, body)
            return copy.deepcopy(self.put(kind, body, namespace))

    async def apply_status(self, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        with self._call("apply_status", kind):
            there = self._find(kind, namespace, name)
            self._check(there, body["metadata"])
            wanted = applied(there.get("status") or {}, body["status"])
            found = list(objections(wanted, self.schema))
            if found:
                raise Invalid(f"DatabaseMigration.lockgate.dev {name!r} is invalid: {found}")
            self.statuses.append(copy.deepcopy(body["status"]))
            if there.get("status") != wanted:
                there["status"] = copy.deepcopy(wanted)
                self._touch(there)
            return copy.deepcopy(there)

    async def patch(self, kind: Kind, namespace: str, name: str, body: Object, *, content_type: str) -> Object:
        with self._call("patch", kind):
            there = self._find(kind, namespace, name)
            self._check(there, body["metadata"])
            if "strategic" in content_type:
                gone = [gate["name"] for gate in body["spec"]["schedulingGates"] if gate["$patch"] == "delete"]
                gates = [gate for gate in there["spec"].get("schedulingGates", []) if gate["name"] not in gone]
                there["spec"]["schedulingGates"] = gates
            else:
                there["metadata"]["finalizers"] = list(body["metadata"]["finalizers"])
            self._touch(there)
            answer = copy.deepcopy(there)
            self._collect(kind, there)
            return answer

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
        with self._call("delete", kind):
            assert propagation == "Background"
            there = self._find(kind, namespace, name)
            self._check(there, {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {}))
            self.mark_deleted(kind, there)

    async def pod_log(self, namespace: str, name: str, container: str, *, tail_lines: int, limit_bytes: int) -> str:
        with self._call("log", POD):
            assert (namespace, container) == (NAMESPACE, "migrate")
            return "\n".join(self.logs.get(name, "").splitlines()[-tail_lines:])[-limit_bytes:]

    # what tests and the rest of the cluster do

    def put(self, kind: Kind, body: Object, namespace: str = NAMESPACE) -> Object:
        key = (kind.plural, namespace, body["metadata"]["name"])
        if key in self.objects:
            raise AlreadyExists(f"{key} exists")
        made = copy.deepcopy(body)
        made["metadata"] = {
            "namespace": namespace,
            "uid": f"uid-{next(self._numbers)}",
            "generation": 1,
            "creationTimestamp": stamp(self.clock()),
            **made["metadata"],
        }
        self.objects[key] = made
        self._touch(made)
        return made

    def find(self, kind: Kind, name: str) -> Object:
        return self._find(kind, NAMESPACE, name)

    def all(self, kind: Kind) -> list[Object]:
        return [body for (plural, _, _), body in self.objects.items() if plural == kind.plural]

    def changed(self, body: Object) -> None:
        self._touch(body)

    def mark_deleted(self, kind: Kind, body: Object) -> None:
        body["metadata"]["deletionTimestamp"] = stamp(self.clock())
        self._touch(body)
        self._collect(kind, body)

    def _collect(self, kind: Kind, body: Object) -> None:
        meta = body["metadata"]
        if "deletionTimestamp" not in meta or meta.get("finalizers"):
            return
        self.objects.pop((kind.plural, meta["namespace"], meta["name"]), None)
        for inner in (JOB, POD):
            for owned in self.all(inner):
                if meta["uid"] in [ref["uid"] for ref in owned["metadata"].get("ownerReferences", [])]:
                    self.mark_deleted(inner, owned)

    def _find(self, kind: Kind, namespace: str, name: str) -> Object:
        try:
            return self.objects[kind.plural, namespace, name]
        except KeyError:
            raise Missing(f"{kind.plural} {name}") from None

    def _check(self, there: Object, wanted: Object) -> None:
        for field in ("uid", "resourceVersion"):
            if field in wanted and wanted[field] != there["metadata"][field]:
                raise Conflict(f"{there['metadata']['name']}: {field}")

    def _touch(self, body: Object) -> None:
        body["metadata"]["resourceVersion"] = str(next(self._numbers))

    def _call(self, verb: str, kind: Kind) -> _Call:
        return _Call(self, verb, kind)


def applied(before: Object, status: Object) -> Object:
    """Return what server-side apply makes of a status: null of a map whose fields are all taken away."""
    return {key: None if value == {} and before.get(key) else value for key, value in status.items()}


class _Call:
    """Counts a call, and fails it before or after its effect when it is its turn."""

    def __init__(self, api: Api, verb: str, kind: Kind) -> None:
        self.api, self.name, self.write = api, f"{verb} {kind.plural}", verb not in ("get", "list", "log")
        self.refused = api.refuse.get((verb, kind.plural))

    def __enter__(self) -> None:
        self.api.calls.append(self.name)
        self.turn = len(self.api.calls) - 1 == self.api.fail_at
        if self.refused is not None:
            raise self.refused
        if self.turn and not self.api.fail_after_effect:
            raise Unavailable(f"{self.name} did not arrive")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self.write:
            self.api.writes.append(self.name)
        if kind is None and self.turn and self.api.fail_after_effect:
            raise Unavailable(f"the answer to {self.name} was lost")


class Told:
    """Collects events and figures."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []
        self.pod_events: list[tuple[str, str, str]] = []
        self.runs: list[tuple[str, str]] = []
        self.gates = 0
        self.refused: list[str] = []
        self.state: dict[str, dict[str, Any]] = {}

    async def emit(self, regarding: Object, kind: str, reason: str, action: str, note: str, /) -> None:
        assert regarding["metadata"]["uid"]
        assert action
        if regarding["kind"] == "Pod":
            self.pod_events.append((regarding["metadata"]["name"], reason, note))
        else:
            self.events.append((kind, reason, note))

    def observed(self, namespace: str, name: str, **figures: Any) -> None:
        self.state[f"{namespace}/{name}"] = figures

    def forgotten(self, namespace: str, name: str) -> None:
        self.state.pop(f"{namespace}/{name}", None)

    def run_finished(self, *, outcome: str, reason: str, seconds: float) -> None:
        assert seconds >= 0
        self.runs.append((outcome, reason))

    def status_refused(self, reason: str) -> None:
        self.refused.append(reason)

    def gates_opened(self, count: int) -> None:
        self.gates += count


class World:
    """A cluster with one operator; what Kubernetes itself would do is done by the methods here."""

    def __init__(self) -> None:
        self.now = START
        self.api = Api(lambda: self.now)
        self.told = Told()
        self.restart_operator()

    def restart_operator(self) -> None:
        self.controller = Controller(
            self.api,
            events=self.told,
            metrics=self.told,
            injection=Injection("lockgate:test", "IfNotPresent"),
            clock=lambda: self.now,
            sleep=self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        """Let the operator sleep, in no time."""
        self.pass_time(seconds)

    # the user

    def migration(self, name: str = "shop", **spec: Any) -> Object:
        body = {"metadata": {"name": name}, "spec": {**minimal_spec(), **spec}, "status": {"observedGeneration": -1}}
        return self.api.put(DATABASE_MIGRATION, body)

    def edit(self, name: str = "shop", **spec: Any) -> None:
        body = self.api.find(DATABASE_MIGRATION, name)
        body["spec"].update(spec)
        body["metadata"]["generation"] += 1
        self.api.changed(body)

    def annotate(self, name: str = "shop", **annotations: str) -> None:
        body = self.api.find(DATABASE_MIGRATION, name)
        body["metadata"].setdefault("annotations", {}).update(annotations)
        self.api.changed(body)

    def app_pod(self, name: str, *, image: str = "shop:1", held: bool = True, **meta: dict[str, str]) -> Object:
        labels = {"lockgate.dev/migration": "shop", **meta.get("labels", {})}
        body: Object = {
            "metadata": {"name": name, "labels": labels, "annotations": meta.get("annotations", {})},
            "spec": {"containers": [{"name": "app", "image": image}]},
            "status": {"phase": "Pending"},
        }
        if held:
            body["spec"]["schedulingGates"] = [{"name": "example.com/quota"}, {"name": "lockgate.dev/migration"}]
        return self.api.put(POD, body)

    # the operator

    async def reconcile(self, name: str = "shop") -> float | None:
        return await self.controller.reconcile(NAMESPACE, name)

    async def settle(self, name: str = "shop", limit: int = 20) -> int:
        """Reconcile until nothing is written any more; return how often it took."""
        for turn in range(limit):
            before = len(self.api.writes)
            self.pass_time(3)
            await self.reconcile(name)
            if len(self.api.writes) == before:
                return turn
        raise AssertionError(f"still writing after {limit} passes: {self.api.writes[-6:]}")

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # what can be seen

    def status(self, name: str = "shop") -> dict[str, Any]:
        return self.api.find(DATABASE_MIGRATION, name)["status"]

    def ready(self, name: str = "shop") -> dict[str, Any]:
        return self.condition("Ready", name)

    def condition(self, kind: str, name: str = "shop") -> dict[str, Any]:
        return next(c for c in self.status(name)["conditions"] if c["type"] == kind)

    def held(self) -> list[str]:
        return [
            pod["metadata"]["name"]
            for pod in self.api.all(POD)
            if "lockgate.dev/migration" in [gate["name"] for gate in pod["spec"].get("schedulingGates", [])]
        ]

    # the Job controller and the kubelet

    def job(self) -> Object:
        """Return the newest Job."""
        return max(self.api.all(JOB), key=lambda job: job["metadata"]["creationTimestamp"])

    def pod_of(self, job: Object, name: str = "", **state: Any) -> Object:
        """Make a new pod of the Job, with the container that migrates in this state."""
        count = len([p for p in self.api.all(POD) if p["metadata"]["name"].startswith(job["metadata"]["name"])])
        labels = {**job["spec"]["template"]["metadata"]["labels"], "job-name": job["metadata"]["name"]}
        owner = [{"uid": job["metadata"]["uid"], "controller": True}]
        name = name or f"{job['metadata']['name']}-{count}"
        pod = self.api.put(POD, {"metadata": {"name": name, "labels": labels, "ownerReferences": owner}, "spec": {}})
        self.set_state(pod, **(state or {"waiting": {"reason": "PodInitializing"}}))
        return pod

    def set_state(self, pod: Object, *, phase: str = "", **state: Any) -> None:
        kind = next(iter(state))
        ended = "Failed" if (state[kind] or {}).get("exitCode") else "Succeeded"
        guess = {"waiting": "Pending", "running": "Running", "terminated": ended}[kind]
        beside = [one for one in pod.get("status", {}).get("containerStatuses", ()) if one["name"] != "migrate"]
        pod["status"] = {
            "phase": phase or guess,
            "containerStatuses": [{"name": "migrate", "restartCount": 0, "state": state}, *beside],
        }
        self.api.changed(pod)

    def inject(self, pod: Object, name: str = "istio-proxy") -> None:
        """Let an injector have added a container that runs for ever."""
        pod["status"]["containerStatuses"].append({"name": name, "restartCount": 0, "state": {"running": {}}})

    def says(self, job: Object, reason: str, note: str) -> None:
        """Let the Job controller post an event about a Job."""
        uid = job["metadata"]["uid"]
        event = {
            "metadata": {"name": f"{job['metadata']['name']}.{len(self.api.all(EVENT))}"},
            "regarding": {"uid": uid},
        }
        self.api.put(EVENT, {**event, "reason": reason, "note": note, "deprecatedLastTimestamp": stamp(self.now)})

    def disrupt(self, pod: Object, message: str) -> None:
        """Let the cluster end a pod, as a drain does."""
        pod["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True", "message": message}]
        pod["metadata"]["deletionTimestamp"] = stamp(self.now)
        self.api.changed(pod)

    def vanish(self, pod: Object) -> None:
        """Let a pod go without a trace."""
        del self.api.objects[POD.plural, NAMESPACE, pod["metadata"]["name"]]

    def run(self, job: Object, progress: Progress | None = None) -> Object:
        """Let a pod run, and print its progress."""
        pod = self.pod_of(job, running={"startedAt": stamp(self.now)})
        if progress is not None:
            self.progress(pod, progress)
        return pod

    def progress(self, pod: Object, progress: Progress) -> None:
        line = progress_line(stamp(self.now), "step", progress)
        name = pod["metadata"]["name"]
        self.api.logs[name] = f"{self.api.logs.get(name, '')}{line}\n"

    def end(self, pod: Object, report: Report | None = None, *, exit_code: int | None = None, **more: Any) -> None:
        """Let the container end, with this report in its log and in its termination message."""
        name = pod["metadata"]["name"]
        message = more.pop("message", "")
        if report is not None:
            self.api.logs[name] = f"{self.api.logs.get(name, '')}{report_line(report)}\n"
            message = termination_message(report)
            exit_code = report.exit_code if exit_code is None else exit_code
        self.set_state(pod, terminated={"exitCode": exit_code or 0, "message": message, **more})

    def complete(self, job: Object) -> None:
        job.setdefault("status", {})["succeeded"] = 1
        self._conclude(job, "Complete", "CompletionsReached")

    def fail(self, job: Object, reason: str, failed: int = 1) -> None:
        job.setdefault("status", {})["failed"] = failed
        self._conclude(job, "Failed", reason)

    def _conclude(self, job: Object, kind: str, reason: str) -> None:
        condition = {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": stamp(self.now)}
        job["status"]["conditions"] = [condition]
        self.api.changed(job)

    # whole stories

    async def succeed(self, report: Report | None = None, name: str = "shop") -> Object:
        """Reconcile until there is a Job, let it succeed, reconcile until all is quiet."""
        await self.settle(name)
        job = self.job()
        pod = self.run(job)
        self.pass_time(12)
        self.end(pod, report or migrated())
        self.complete(job)
        await self.settle(name)
        return job


def minimal_spec() -> dict[str, Any]:
    return {"image": "shop:1", "database": {"urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}}}


def migrated(**fields: Any) -> Report:
    known = {
        "outcome": "Succeeded",
        "reason": "Migrated",
        "message": "Applied 1 revision.",
        "reached": ("d41",),
        "target": ("d41",),
        "revisions": ("d41", "c3f"),
    }
    return Report(**{**known, **fields})
