"""The chart's admission policies on a real API server: which new pods are held, what the operator may do to a pod.

Pods are created as server-side dry runs: admission decides as it would, and nothing is left. The operator is stopped,
because it would replace the status that these tests write.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any, Protocol

import pytest

pytestmark = pytest.mark.usefixtures("operator_stopped")

GATE = "lockgate.dev/migration"
IMAGE = "registry.example.com/shop:1.4.2"
SETTLED_WITHIN = 30.0
"""Seconds. The API server learns of a changed resource by a watch, as a rule within milliseconds."""


class Kubectl(Protocol):
    def __call__(
        self, *args: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def resource(kubectl: Kubectl, namespace: str) -> Callable[..., None]:
    """Return a function that makes a DatabaseMigration whose status says what its database has."""

    def make(name: str = "shop", *, images: tuple[str, ...] = (), revisions: tuple[str, ...] = ()) -> None:
        body = {
            "apiVersion": "lockgate.dev/v1alpha1",
            "kind": "DatabaseMigration",
            "metadata": {"name": name},
            "spec": {"image": IMAGE, "database": {"urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}}},
        }
        kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(body))
        satisfied = {
            "database": "0123456789",
            "revisions": list(revisions),
            "images": [{"image": image, "revision": "c3f1"} for image in images],
        }
        patch = json.dumps({"status": {"satisfied": satisfied}})
        kubectl("-n", namespace, "patch", "dbm", name, "--subresource=status", "--type=merge", "-p", patch)
        # Once a covered pod passes, the policies know this status, and a pod that is held then is held for good.
        if images:
            until(lambda: gates(admit(kubectl, namespace, pod(labels={GATE: name}, images=images[:1]))) == [])
        elif revisions:
            wanted = {GATE: name, "lockgate.dev/revision": revisions[0]}
            until(lambda: gates(admit(kubectl, namespace, pod(labels=wanted))) == [])

    return make


def pod(
    *,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    images: tuple[str, ...] = (IMAGE,),
    held_by: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Build a pod that the `restricted` Pod Security level accepts."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "shop-",
            "labels": {GATE: "shop"} if labels is None else labels,
            "annotations": annotations or {},
        },
        "spec": {
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": f"c{index}",
                    "image": image,
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
                for index, image in enumerate(images)
            ],
            "schedulingGates": [{"name": name} for name in held_by],
        },
    }


def admit(kubectl: Kubectl, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
    done = kubectl("-n", namespace, "create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(body))
    admitted: dict[str, Any] = json.loads(done.stdout)
    return admitted


def gates(body: dict[str, Any]) -> list[str]:
    return [gate["name"] for gate in body["spec"].get("schedulingGates", [])]


def covered_by(body: dict[str, Any]) -> str | None:
    annotation: str | None = body["metadata"].get("annotations", {}).get("lockgate.dev/covered-by")
    return annotation


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLED_WITHIN
    while not holds():
        assert time.monotonic() < deadline, f"did not become true within {SETTLED_WITHIN:.0f} s"
        time.sleep(0.1)


def test_a_pod_whose_image_has_been_migrated_is_not_held(
    kubectl: Kubectl, namespace: str, resource: Callable[..., None]
) -> None:
    resource(images=(IMAGE,))

    admitted = admit(kubectl, namespace, pod())

    assert gates(admitted) == []
    assert covered_by(admitted) == "shop"


def test_one_migrated_image_among_several_containers_is_enough(
    kubectl: Kubectl, namespace: str, resource: Callable[..., None]
) -> None:
    resource(images=(IMAGE,))

    assert gates(admit(kubectl, namespace, pod(images=("registry.example.com/proxy:2", IMAGE)))) == []


def test_a_pod_whose_image_has_not_been_migrated_is_held(
    kubectl: Kubectl, namespace: str, resource: Callable[..., None]
) -> None:
    resource(images=("registry.example.com/shop:1.4.1",))

    admitted = admit(kubectl, namespace, pod())

    assert gates(admitted) == [GATE]
    assert covered_by(admitted) is None


def test_a_resource_that_no_operator_has_seen_covers_nothing(
    kubectl: Kubectl, namespace: str, resource: Callable[..., None]
) -> None:
    resource()

    assert gates(admit(kubectl, namespace, pod())) == [GATE]


def test_a_pod_whose_label_names_no_resource_is_held(kubectl: Kubectl, namespace: str) -> None:
    assert gates(admit(kubectl, namespace, pod())) == [GATE]


def test_a_pod_whose_label_names_no_resource_is_held_next_to_other_resources(
    kubectl: Kubectl, namespace: str, resource: Callable[..., None]
) -> None:
    resource("other", images=(IMAGE,))

    assert gates(admit(kubectl, namespace, pod())) == [GATE]


def test_a_pod_without_the_label_is_left_alone(kubectl: Kubectl, namespace: str, resource: Callable[..., None]) -> None:
    resource(images=(IMAGE,))

    admitted = admit(kubectl, namespace, pod(labels={}, annotations={"lockgate.dev/covered-by": "x"}, held_by=(GATE,)))

    assert gates(admitted) == [GATE]
    assert covered_by(admitted) == "x"


@pytest.mark.parametrize("foreign", [("example.com/a",), ("example.com/a", "example.com/b")])
def test_gates_of_others_stay_on_a_covered_pod(
    kubectl: Kubectl, namespace: str, resource: Callable[..., None], foreign: tuple[str, ...]
) -> None:
    resource(images=(IMAGE,))

    assert gates(admit(kubectl, namespace, pod(held_by=foreign))) == list(foreign)


def test_gates_of_others_stay_on_a_held_pod(kubectl: Kubectl, namespace: str) -> None:
    assert set(gates(admit(kubectl, namespace, pod(held_by=("example.com/a", "example.com/b"))))) == {
        "example.com/a",
        "example.com/b",
        GATE,
    }


@pytest.mark.parametrize("written", [(GATE,), ("example.com/a", GATE), (GATE, "example.com/a")])
def test_a_gate_in_the_template_is_taken_off_a_covered_pod(
    kubectl: Kubectl, namespace: str, resource: Callable[..., None], written: tuple[str, ...]
) -> None:
    resource(images=(IMAGE,))

    assert gates(admit(kubectl, namespace, pod(held_by=written))) == [name for name in written if name != GATE]


def test_a_gate_in_the_template_is_not_doubled(kubectl: Kubectl, namespace: str) -> None:
    assert gates(admit(kubectl, namespace, pod(held_by=(GATE,)))) == [GATE]


def test_a_reason_to_bypass_lets_a_pod_in_even_with_a_gate_in_its_template(kubectl: Kubectl, namespace: str) -> None:
    bypass = {"lockgate.dev/bypass": "restoring from backup, see INC-7"}

    assert gates(admit(kubectl, namespace, pod(annotations=bypass))) == []
    assert gates(admit(kubectl, namespace, pod(annotations=bypass, held_by=("example.com/a", GATE)))) == [
        "example.com/a"
    ]


def test_a_bypass_without_a_reason_bypasses_nothing(kubectl: Kubectl, namespace: str) -> None:
    assert gates(admit(kubectl, namespace, pod(annotations={"lockgate.dev/bypass": ""}))) == [GATE]


def test_the_revision_a_pod_asks_for_counts_and_not_its_image(
    kubectl: Kubectl, namespace: str, resource: Callable[..., None]
) -> None:
    resource(images=(IMAGE,), revisions=("a1", "b2"))

    def held(revision: str) -> list[str]:
        return gates(admit(kubectl, namespace, pod(labels={GATE: "shop", "lockgate.dev/revision": revision})))

    assert held("a1") == []
    assert held("b2") == []
    assert held("c3") == [GATE]
    assert held("") == []  # an empty label asks for nothing: the image counts


def test_the_migration_image_a_pod_names_counts_and_not_its_own(
    kubectl: Kubectl, namespace: str, resource: Callable[..., None]
) -> None:
    migrations = "registry.example.com/shop-migrations:7"
    resource(images=(migrations, IMAGE))

    def held(image: str, own: str) -> list[str]:
        annotations = {"lockgate.dev/migration-image": image}
        return gates(admit(kubectl, namespace, pod(annotations=annotations, images=(own,))))

    assert held(migrations, "registry.example.com/shop-web:9") == []
    assert held("registry.example.com/shop-migrations:8", IMAGE) == [GATE]
    assert held("", IMAGE) == []  # an empty annotation names nothing


def test_the_revision_label_comes_before_the_migration_image(
    kubectl: Kubectl, namespace: str, resource: Callable[..., None]
) -> None:
    resource(images=(IMAGE,), revisions=("a1",))
    labels = {GATE: "shop", "lockgate.dev/revision": "c3"}

    admitted = admit(kubectl, namespace, pod(labels=labels, annotations={"lockgate.dev/migration-image": IMAGE}))

    assert gates(admitted) == [GATE]


def test_a_forged_covered_by_opens_nothing_and_does_not_stay(
    kubectl: Kubectl, namespace: str, resource: Callable[..., None]
) -> None:
    """A template copied from a live pod carries it."""
    forged = {"lockgate.dev/covered-by": "shop", "example.com/kept": "yes"}

    unknown = admit(kubectl, namespace, pod(annotations=forged))
    resource(images=("registry.example.com/shop:1.4.1",))
    uncovered = admit(kubectl, namespace, pod(annotations=forged))

    for admitted in (unknown, uncovered):
        assert gates(admitted) == [GATE]
        assert admitted["metadata"]["annotations"] == {"example.com/kept": "yes", "lockgate.dev/gated": "true"}


def test_a_stale_covered_by_is_replaced_by_the_truth(
    kubectl: Kubectl, namespace: str, resource: Callable[..., None]
) -> None:
    resource(images=(IMAGE,))

    admitted = admit(kubectl, namespace, pod(annotations={"lockgate.dev/covered-by": "somebody-else"}))

    assert gates(admitted) == []
    assert covered_by(admitted) == "shop"


def test_each_pod_is_judged_by_the_one_resource_that_it_names(
    kubectl: Kubectl, namespace: str, resource: Callable[..., None]
) -> None:
    resource("shop", images=(IMAGE,))
    resource("billing", images=("registry.example.com/billing:3",))

    assert gates(admit(kubectl, namespace, pod(labels={GATE: "shop"}))) == []
    assert gates(admit(kubectl, namespace, pod(labels={GATE: "billing"}))) == [GATE]
    billing = pod(labels={GATE: "billing"}, images=("registry.example.com/billing:3",))
    assert covered_by(admit(kubectl, namespace, billing)) == "billing"


def test_a_resource_of_another_namespace_covers_nothing(kubectl: Kubectl, resource: Callable[..., None]) -> None:
    resource(images=(IMAGE,))

    assert gates(admit(kubectl, "default", pod())) == [GATE]


def test_neither_the_order_of_the_policies_nor_an_update_of_them_lets_a_pod_through(
    kubectl: Kubectl, namespace: str, resource: Callable[..., None]
) -> None:
    """The API server takes its policies from a map: each time it reads one of them again, their order is drawn anew."""
    resource(images=(IMAGE,))
    listed = kubectl("get", "mutatingadmissionpolicies", "-l", "app.kubernetes.io/name=lockgate", "-o", "name")
    policies = [name for name in listed.stdout.split() if "/gate." in name or "/open." in name]
    assert len(policies) == 2
    forged = {"lockgate.dev/covered-by": "shop"}
    uncovered = pod(images=("registry.example.com/shop:2",), annotations=forged, held_by=("example.com/a",))
    covered = pod(held_by=("example.com/a", GATE))
    try:
        for turn in range(25):
            kubectl("annotate", "--overwrite", policies[turn % 2], f"example.com/turn={turn}")
            assert set(gates(admit(kubectl, namespace, uncovered))) == {"example.com/a", GATE}
            admitted = admit(kubectl, namespace, covered)
            assert (gates(admitted), covered_by(admitted)) == (["example.com/a"], "shop")
    finally:
        kubectl("annotate", *policies, "example.com/turn-")


def test_pods_of_a_deployment_are_held_as_well(kubectl: Kubectl, namespace: str) -> None:
    template = pod()
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {GATE: "shop"}},
            "template": {"metadata": {"labels": {GATE: "shop"}}, "spec": template["spec"]},
        },
    }
    kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(body))

    def held() -> bool:
        listed = json.loads(kubectl("-n", namespace, "get", "pods", "-l", GATE, "-o", "json").stdout)["items"]
        return [gates(one) for one in listed] == [[GATE]]

    until(held)


@pytest.fixture
def held_pod(kubectl: Kubectl, namespace: str) -> str:
    """Return the name of a pod that is held by the gate and by somebody else's."""
    body = pod(held_by=("example.com/a",), annotations={"example.com/kept": "yes"})
    body["metadata"]["name"] = body["metadata"].pop("generateName") + "held"
    kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(body))
    name: str = body["metadata"]["name"]
    return name


OPENING = {"spec": {"schedulingGates": [{"name": GATE, "$patch": "delete"}]}}


def test_the_operator_may_remove_its_own_gate_and_others_stay(
    kubectl: Kubectl, namespace: str, as_operator: str, held_pod: str
) -> None:
    kubectl("-n", namespace, "patch", "pod", held_pod, "-p", json.dumps(OPENING), as_operator)

    left = json.loads(kubectl("-n", namespace, "get", "pod", held_pod, "-o", "json").stdout)
    assert gates(left) == ["example.com/a"]


def test_the_operator_may_remove_the_last_gate_and_ask_twice(
    kubectl: Kubectl, namespace: str, as_operator: str
) -> None:
    body = pod()
    body["metadata"]["name"] = "shop-alone"
    kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(body))

    for _ in range(2):
        kubectl("-n", namespace, "patch", "pod", "shop-alone", "-p", json.dumps(OPENING), as_operator)

    assert gates(json.loads(kubectl("-n", namespace, "get", "pod", "shop-alone", "-o", "json").stdout)) == []


FORBIDDEN = {
    "another gate": {"spec": {"schedulingGates": [{"name": "example.com/a", "$patch": "delete"}]}},
    "every gate": {"spec": {"schedulingGates": None}},
    "an image": {"spec": {"containers": [{"name": "c0", "image": "registry.example.com/evil:1"}]}},
    "an image beside the gate": {
        "spec": {**OPENING["spec"], "containers": [{"name": "c0", "image": "registry.example.com/evil:1"}]}
    },
    "a label": {"metadata": {"labels": {"example.com/new": "x"}}},
    "the label away": {"metadata": {"labels": {GATE: None}}},
    "an annotation": {"metadata": {"annotations": {"lockgate.dev/bypass": "because"}}},
    "an annotation away": {"metadata": {"annotations": {"example.com/kept": None}}},
    "a finalizer": {"metadata": {"finalizers": ["example.com/f"]}},
    "an owner": {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "y"}]}},
    "a deadline": {"spec": {"activeDeadlineSeconds": 1}},
    "a toleration": {"spec": {"tolerations": [{"key": "example.com/t", "operator": "Exists"}]}},
    "a node selector": {"spec": {"nodeSelector": {"example.com/n": "x"}}},
}


def test_the_operator_may_change_nothing_else_of_a_pod(
    kubectl: Kubectl, namespace: str, as_operator: str, held_pod: str
) -> None:
    for what, patch in FORBIDDEN.items():
        arguments = ("-n", namespace, "patch", "pod", held_pod, "--dry-run=server", "-p", json.dumps(patch))

        kubectl(*arguments)  # somebody with the right to do so may
        refused = kubectl(*arguments, as_operator, check=False)

        assert refused.returncode != 0, what
        assert "Lockgate's account may" in refused.stderr, what


RIGHTS = {
    ("patch", "pods"): "yes",
    ("get", "pods/log"): "yes",
    ("create", "jobs.batch"): "yes",
    ("delete", "jobs.batch"): "yes",
    ("patch", "databasemigrations.lockgate.dev"): "yes",
    ("patch", "databasemigrations.lockgate.dev/status"): "yes",
    ("update", "databasemigrations.lockgate.dev/finalizers"): "yes",
    ("create", "events.events.k8s.io"): "yes",
    ("list", "events.events.k8s.io"): "yes",
    ("get", "databasemigrations.lockgate.dev/status"): "no",
    ("get", "secrets"): "no",
    ("list", "secrets"): "no",
    ("get", "configmaps"): "no",
    ("patch", "deployments.apps"): "no",
    ("create", "pods"): "no",
    ("delete", "pods"): "no",
    ("update", "pods"): "no",
    ("create", "pods/exec"): "no",
    ("update", "pods/ephemeralcontainers"): "no",
    ("patch", "pods/status"): "no",
    ("update", "jobs.batch"): "no",
    ("delete", "databasemigrations.lockgate.dev"): "no",
    ("create", "serviceaccounts/token"): "no",
    ("get", "leases.coordination.k8s.io"): "no",  # outside the release's own namespace
}


def test_the_rights_of_the_operator_are_those_it_needs(kubectl: Kubectl, namespace: str, as_operator: str) -> None:
    def answer(verb: str, what: str) -> str:
        plural, _, subresource = what.partition("/")
        asked = ("auth", "can-i", verb, plural, f"--subresource={subresource}", "-n", namespace, as_operator)
        return kubectl(*asked, check=False).stdout.strip()

    assert {right: answer(*right) for right in RIGHTS} == RIGHTS
