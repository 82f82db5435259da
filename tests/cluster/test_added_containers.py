"""A policy of the cluster adds a container to each pod, as a service mesh does, and it never ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_access import eventually
from shop import Shop

CONTAINER = """[JSONPatch{op: "add", path: "/spec/containers/-", value: Object.spec.containers{
  name: "proxy", image: "%s", command: ["sleep", "100000"],
  securityContext: Object.spec.containers.securityContext{allowPrivilegeEscalation: false,
    capabilities: Object.spec.containers.securityContext.capabilities{drop: ["ALL"]}}}}]"""


def policy(name: str, namespace: str, image: str) -> dict[str, Any]:
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": {"namespaceSelector": here, "resourceRules": [pods]},
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": CONTAINER % image}}],
        },
    }


@pytest.fixture
def injector(shop: Shop) -> Iterator[None]:
    """Add a container to every pod of the test's namespace."""
    name, here = f"injector-{shop.here.name}", shop.here
    binding = {"kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": {"policyName": name}}
    here.apply(policy(name, here.name, shop.image(1)), {"apiVersion": "admissionregistration.k8s.io/v1", **binding})

    def is_at_work() -> None:
        dry_run = ("run", "probe", "--image=any", "--dry-run=server", "-o", "json", "--overrides", json.dumps(PROBE))
        assert len(json.loads(here.kubectl(*dry_run).stdout)["spec"]["containers"]) == 2

    eventually(is_at_work)
    yield
    here.kubectl("delete", "mutatingadmissionpolicy,mutatingadmissionpolicybinding", name)


PROBE = {
    "spec": {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "probe",
                "image": "any",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    }
}


@pytest.mark.usefixtures("injector")
def test_a_migration_is_done_when_its_container_has_ended_and_the_rest_of_the_pod_is_removed(shop: Shop) -> None:
    shop.secret()
    shop.migrate(1)

    shop.ready(timeout=60)

    assert shop.database.revisions() == ["0002"]
    assert "Container proxy, which is not of the Job" in shop.here.condition("shop", "Ready")["message"]

    def is_gone() -> None:
        assert shop.here.list("jobs") == []

    eventually(is_gone, timeout=60)
    assert [entry["outcome"] for entry in shop.status()["history"]] == ["Succeeded"]
