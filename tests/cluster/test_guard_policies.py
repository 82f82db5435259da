"""What the operator's account may do with Jobs and with DatabaseMigrations: what it needs, and nothing else."""

from __future__ import annotations

import copy
import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from job_shapes import SHAPES, SPEC

from lockgate.job.manifests import build_job
from lockgate.job.pod_template import Injection
from lockgate.resource import parse

Kubectl = Callable[..., subprocess.CompletedProcess[str]]
Job = dict[str, Any]
SETTLED_WITHIN = 60.0


@pytest.fixture
def made(kubectl: Kubectl, namespace: str) -> Callable[..., Job]:
    """Create a DatabaseMigration, and build its Job as the operator would."""

    def make(name: str = "shop", **spec: Any) -> Job:
        body = {
            "apiVersion": "lockgate.dev/v1alpha1",
            "kind": "DatabaseMigration",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {**SPEC, **spec, "suspend": True},
        }
        stored = json.loads(kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(body)).stdout)
        selector = "app.kubernetes.io/name=lockgate,app.kubernetes.io/component=operator"
        query = "{.items[0].spec.template.spec.containers[0].image}"
        image = kubectl("get", "deployments", "-A", "-l", selector, "-o", f"jsonpath={query}").stdout
        return build_job(parse(stored), Injection(image, "IfNotPresent"))

    return make


@pytest.fixture
def refusals(kubectl: Kubectl, as_operator: str) -> Callable[..., list[str]]:
    """Ask whether the operator's account may create each of these Jobs; return what is said to each, or nothing."""

    def ask(*jobs: Job, account: str = as_operator) -> list[str]:
        numbered = []
        for number, job in enumerate(jobs):
            run = job["metadata"].get("labels", {}).get("lockgate.dev/run", "")
            text = json.dumps(job)
            numbered.append(json.loads(text.replace(run, f"{number:010x}") if run else text))
        body = {"apiVersion": "v1", "kind": "List", "items": numbered}
        said = kubectl("create", "--dry-run=server", "-f", "-", account, stdin=json.dumps(body), check=False).stderr
        lines = said.splitlines()
        return [next((x for x in lines if job["metadata"]["name"] in x), "") for job in numbered]

    return ask


def until_allowed(refusals: Callable[..., list[str]], *jobs: Job) -> list[str]:
    """Ask until all is allowed: the API server's own copy of a resource may be a moment older."""
    deadline = time.monotonic() + SETTLED_WITHIN
    while any(said := refusals(*jobs)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return said


EVERYTHING: dict[str, Any] = {
    "metadata": {"labels": {"team": "shop"}, "annotations": {"sidecar.istio.io/inject": "false"}},
    "spec": {
        "serviceAccount": "shop",
        "automountServiceAccountToken": True,
        "hostNetwork": True,
        "hostPID": False,
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["10.0.0.1"]},
        "hostAliases": [{"ip": "10.0.0.2", "hostnames": ["db"]}],
        "priorityClassName": "high",
        "runtimeClassName": "gvisor",
        "schedulerName": "other",
        "nodeSelector": {"pool": "jobs"},
        "tolerations": [{"key": "pool", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "terminationGracePeriodSeconds": 600,
        "securityContext": {
            "runAsNonRoot": False,
            "runAsUser": 0,
            "fsGroup": 5,
            "supplementalGroups": [1, 2],
            "seccompProfile": {"type": "Unconfined"},
        },
        "volumes": [
            {"name": "plain"},
            {"name": "empty", "emptyDir": {"sizeLimit": "1024Mi"}},
            {"name": "host", "hostPath": {"path": "/var/run"}},
            {"name": "secret", "secret": {"secretName": "s", "items": [{"key": "b", "path": "b"}]}},
            {"name": "config", "configMap": {"name": "c"}},
            {"name": "claim", "persistentVolumeClaim": {"claimName": "p"}},
            {"name": "downward", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {
                "name": "projected",
                "projected": {
                    "sources": [
                        {"secret": {"name": "s"}},
                        {"configMap": {"name": "c"}},
                        {"serviceAccountToken": {"path": "token", "audience": "vault"}},
                    ]
                },
            },
        ],
        "initContainers": [
            {"name": "first", "image": "busybox:1", "command": ["true"], "securityContext": {"runAsUser": 0}}
        ],
        "containers": [
            {
                "name": "migrate",
                "workingDir": "/srv",
                "tty": True,
                "env": [
                    {"name": "EMPTY", "value": ""},
                    {"name": "DOLLAR", "value": "$(EMPTY)"},
                    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                    {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                    {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
                ],
                "envFrom": [{"secretRef": {"name": "s"}, "prefix": "P_"}],
                "resources": {"limits": {"cpu": 1, "memory": "1024Mi"}},
                "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}, "readOnlyRootFilesystem": True},
                "volumeMounts": [{"name": "secret", "mountPath": "/s", "subPath": "b"}],
            },
            {
                "name": "proxy",
                "image": "proxy:2",
                "args": ["--port=5432"],
                "ports": [{"containerPort": 5432}],
                "startupProbe": {"tcpSocket": {"port": 5432}},
                "env": [{"name": "A", "value": "b"}],
                "volumeMounts": [{"name": "host", "mountPath": "/var/run"}],
                "securityContext": {"privileged": True, "allowPrivilegeEscalation": True},
            },
        ],
    },
}


def test_the_operator_may_create_what_it_builds(made: Any, refusals: Any) -> None:
    runner = {"resources": {"limits": {"cpu": 1}}}
    shapes = {**SHAPES, "everything": {"template": EVERYTHING, "runner": runner, "policy": {"downgrade": "Allow"}}}
    jobs = [made(f"shop-{shape}", **spec) for shape, spec in shapes.items()]

    assert until_allowed(refusals, *jobs) == [""] * len(shapes)


def pod(job: Job) -> Any:
    return job["spec"]["template"]["spec"]


def main(job: Job) -> Any:
    return pod(job)["containers"][0]


def variable(job: Job, name: str) -> Any:
    return next(entry for entry in main(job)["env"] if entry["name"] == name)


def of_another_resource(job: Job) -> None:
    """Let it belong to a resource that is not there, while others are."""
    job["metadata"]["labels"]["lockgate.dev/run-of"] = "nobody"
    job["metadata"]["ownerReferences"][0]["name"] = "nobody"
    job["metadata"]["name"] = f"nobody-{job['metadata']['labels']['lockgate.dev/run']}"


def of_a_claimed_resource(job: Job) -> None:
    of_another_resource(job)
    uid = job["metadata"]["ownerReferences"][0]["uid"]
    job["metadata"].setdefault("annotations", {})["lockgate.dev/owner-found"] = uid


FORBIDDEN: dict[str, Callable[[Job], Any]] = {
    "of nobody": lambda job: job["metadata"].pop("ownerReferences"),
    "of a ConfigMap": lambda job: job["metadata"]["ownerReferences"][0].update(apiVersion="v1", kind="ConfigMap"),
    "of a resource that is not there": of_another_resource,
    "of one that it claims to be there": of_a_claimed_resource,
    "of an earlier resource of this name": lambda job: job["metadata"]["ownerReferences"][0].update(uid="0-0"),
    "without the label": lambda job: job["metadata"]["labels"].pop("lockgate.dev/run-of"),
    "of another name": lambda job: job["metadata"].update(name=job["metadata"]["name"] + "x"),
    "another image": lambda job: main(job).update(image="registry.example.com/evil:1"),
    "another command": lambda job: main(job).update(command=["sh", "-c", "id"]),
    "arguments": lambda job: main(job).update(args=["--help"]),
    "another Python": lambda job: main(job)["command"].__setitem__(0, "/tmp/python"),
    "a second container": lambda job: pod(job)["containers"].append({"name": "x", "image": "x"}),
    "an init container": lambda job: pod(job)["initContainers"].append({"name": "x", "image": "x"}),
    "another runner": lambda job: pod(job)["initContainers"][0].update(image="registry.example.com/evil:1"),
    "a runner that does something else": lambda job: pod(job)["initContainers"][0].update(command=["id"]),
    "a privileged runner": lambda job: pod(job)["initContainers"][0].update(securityContext={"privileged": True}),
    "privileged": lambda job: main(job)["securityContext"].update(privileged=True, allowPrivilegeEscalation=True),
    "capabilities": lambda job: main(job)["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
    "no securityContext": lambda job: main(job).pop("securityContext"),
    "root": lambda job: pod(job)["securityContext"].update(runAsUser=0),
    "no securityContext of the pod": lambda job: pod(job).pop("securityContext"),
    "hostNetwork": lambda job: pod(job).update(hostNetwork=True),
    "hostPID": lambda job: pod(job).update(hostPID=True),
    "hostIPC": lambda job: pod(job).update(hostIPC=True),
    "a node": lambda job: pod(job).update(nodeName="control-plane"),
    "a toleration": lambda job: pod(job).update(tolerations=[{"operator": "Exists"}]),
    "a service account": lambda job: pod(job).update(serviceAccountName="admin"),
    "an old-fashioned service account": lambda job: pod(job).update(serviceAccount="admin"),
    "its token": lambda job: pod(job).update(automountServiceAccountToken=True),
    "its token unsaid": lambda job: pod(job).pop("automountServiceAccountToken"),
    "a folder of the node": lambda job: pod(job)["volumes"].append({"name": "h", "hostPath": {"path": "/"}}),
    "a folder of the node for the runner's": lambda job: pod(job)["volumes"].__setitem__(
        0, {"name": "lockgate", "hostPath": {"path": "/"}}
    ),
    "a Secret": lambda job: pod(job)["volumes"].append({"name": "s", "secret": {"secretName": "other"}}),
    "a Secret as a variable": lambda job: main(job)["env"].append(
        {"name": "X", "valueFrom": {"secretKeyRef": {"name": "other", "key": "x"}}}
    ),
    "a Secret as a variable of ours": lambda job: main(job)["env"].append(
        {"name": "LOCKGATE_X", "valueFrom": {"secretKeyRef": {"name": "other", "key": "x"}}}
    ),
    "another database": lambda job: variable(job, "DATABASE_URL")["valueFrom"]["secretKeyRef"].update(name="other"),
    "all of a Secret": lambda job: main(job).update(envFrom=[{"secretRef": {"name": "other"}}]),
    "a variable": lambda job: main(job)["env"].append({"name": "PYTHONPATH", "value": "/tmp"}),
    "a check": lambda job: variable(job, "LOCKGATE_CHECKS").update(value='[{"command": {"command": ["id"]}}]'),
    "a downgrade": lambda job: variable(job, "LOCKGATE_DOWNGRADE").update(value="Allow"),
    "a hook": lambda job: main(job).update(lifecycle={"postStart": {"exec": {"command": ["id"]}}}),
    "a label of the pod": lambda job: job["spec"]["template"]["metadata"]["labels"].update(app="shop"),
    "an annotation of the pod": lambda job: job["spec"]["template"]["metadata"]["annotations"].update({"x/y": "z"}),
}


def test_the_operator_may_create_no_other_job(made: Any, refusals: Any) -> None:
    plain = made()
    until_allowed(refusals, plain)
    jobs = []
    for change in FORBIDDEN.values():
        jobs.append(copy.deepcopy(plain))
        change(jobs[-1])

    found = dict(zip(FORBIDDEN, refusals(*jobs), strict=True))
    somebody = dict(zip(FORBIDDEN, refusals(*jobs, account="--as-group=system:masters"), strict=True))

    assert [what for what, said in found.items() if "denied request" not in said] == []
    assert [what for what, said in somebody.items() if "denied request" in said] == []


FROM_TEMPLATE: dict[str, Callable[[Job], Any]] = {
    "another Secret": lambda job: pod(job)["volumes"][1]["secret"].update(secretName="other"),
    "another kind of volume": lambda job: pod(job)["volumes"].__setitem__(1, {"name": "ca", "hostPath": {"path": "/"}}),
    "another place of it": lambda job: main(job)["volumeMounts"][1].update(mountPath="/usr"),
    "another service account": lambda job: pod(job).update(serviceAccountName="admin"),
    "another variable": lambda job: variable(job, "PGSSLROOTCERT").update(value="/tmp"),
    "another ConfigMap": lambda job: main(job)["envFrom"][0]["configMapRef"].update(name="other"),
    "another sidecar": lambda job: pod(job)["initContainers"][2].update(image="registry.example.com/evil:1"),
    "another argument of the sidecar": lambda job: pod(job)["initContainers"][2].update(args=["--evil"]),
    "a privileged sidecar": lambda job: pod(job)["initContainers"][2].update(securityContext={"privileged": True}),
    "a sidecar with the database": lambda job: pod(job)["initContainers"][2].update(
        env=[{"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}}]
    ),
    "another command of the init container": lambda job: pod(job)["initContainers"][1].update(command=["id"]),
    "another user": lambda job: pod(job)["securityContext"].update(runAsUser=0),
    "another label": lambda job: job["spec"]["template"]["metadata"]["labels"].update(team="other"),
}


def test_what_a_template_asks_for_opens_nothing_beside_it(made: Any, refusals: Any) -> None:
    plain = made(**SHAPES["template"])
    until_allowed(refusals, plain)
    jobs = []
    for change in FROM_TEMPLATE.values():
        jobs.append(copy.deepcopy(plain))
        change(jobs[-1])

    found = dict(zip(FROM_TEMPLATE, refusals(*jobs), strict=True))

    assert [what for what, said in found.items() if "denied request" not in said] == []


def test_the_operator_may_create_no_job_where_there_is_no_resource(made: Any, refusals: Any, as_operator: str) -> None:
    job = made()
    job["metadata"]["namespace"] = "kube-system"

    (said,) = refusals(job)

    assert "denied" in said


def test_the_operator_may_not_delete_a_job_of_others(kubectl: Kubectl, namespace: str, as_operator: str) -> None:
    kubectl("-n", namespace, "create", "job", "theirs", "--image=x", "--dry-run=none")

    refused = kubectl("-n", namespace, "delete", "job", "theirs", "--dry-run=server", as_operator, check=False)

    assert "Jobs of a DatabaseMigration, and no others" in refused.stderr
    kubectl("-n", namespace, "delete", "job", "theirs")


CHANGES: dict[str, dict[str, Any]] = {
    "the image": {"spec": {"image": "registry.example.com/evil:1"}},
    "suspend": {"spec": {"suspend": False}},
    "the template": {"spec": {"template": {"spec": {"hostPID": True}}}},
    "a label": {"metadata": {"labels": {"example.com/new": "x"}}},
    "an annotation": {"metadata": {"annotations": {"lockgate.dev/retry": "1"}}},
    "a finalizer of others": {"metadata": {"finalizers": ["example.com/theirs"]}},
    "an owner": {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "y"}]}},
}


def test_of_a_resource_the_operator_may_change_its_finalizer_and_nothing_else(
    kubectl: Kubectl, namespace: str, made: Any, as_operator: str
) -> None:
    made()

    def patch(change: dict[str, Any], *more: str) -> subprocess.CompletedProcess[str]:
        body = ("--type=merge", "-p", json.dumps(change), "--dry-run=server")
        return kubectl("-n", namespace, "patch", "dbm", "shop", *body, *more, check=False)

    assert patch({"metadata": {"finalizers": ["lockgate.dev/run"]}}, as_operator).returncode == 0
    for what, change in CHANGES.items():
        assert patch(change).returncode == 0, what
        assert "Lockgate's account may" in patch(change, as_operator).stderr, what
