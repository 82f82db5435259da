"""What the chart renders: rights, policies by what the cluster offers, and pods that the `restricted` level accepts."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).resolve().parents[3] / "charts" / "lockgate"
Objects = dict[tuple[str, str], dict[str, Any]]
Render = Callable[..., Objects]

OPERATOR_RIGHTS = {
    ("lockgate.dev", "databasemigrations"): {"get", "list", "watch", "patch"},
    ("lockgate.dev", "databasemigrations/status"): {"patch"},
    ("lockgate.dev", "databasemigrations/finalizers"): {"update"},
    ("batch", "jobs"): {"get", "list", "watch", "create", "delete"},
    ("", "pods"): {"get", "list", "watch", "patch"},
    ("", "pods/log"): {"get"},
    ("events.k8s.io", "events"): {"create", "list", "patch"},
}
RUNNER = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}
LEADER_RIGHTS = {("coordination.k8s.io", "leases"): {"get", "create", "update"}}
POLICIES = {("MutatingAdmissionPolicy", "gate.lockgate.dev"), ("MutatingAdmissionPolicy", "open.lockgate.dev")}
OWNERS = {("MutatingAdmissionPolicy", f"{name}-owner.lockgate.dev") for name in ("forget", "find")}


def rights(role: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def of_kind(objects: Objects, *kinds: str) -> set[tuple[str, str]]:
    return {key for key in objects if key[0] in kinds}


def operator_pod(objects: Objects) -> dict[str, Any]:
    spec: dict[str, Any] = objects["Deployment", "lockgate"]["spec"]["template"]["spec"]
    return spec


def environment(objects: Objects) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in operator_pod(objects)["containers"][0]["env"]}


def test_the_operator_has_exactly_the_rights_of_the_design(render: Render) -> None:
    objects = render()

    assert rights(objects["ClusterRole", "operator.lockgate.dev"]) == OPERATOR_RIGHTS
    assert rights(objects["Role", "lockgate-leader"]) == LEADER_RIGHTS
    named = [rule for rule in objects["Role", "lockgate-leader"]["rules"] if "create" not in rule["verbs"]]
    assert [rule["resourceNames"] for rule in named] == [[environment(objects)["LOCKGATE_LEASE_NAME"]]]
    bound = {
        (key, body["roleRef"]["kind"], body["roleRef"]["name"])
        for key, body in objects.items()
        if key[0] in {"ClusterRoleBinding", "RoleBinding"} and body["subjects"][0]["name"] == "lockgate"
    }
    assert bound == {
        (("ClusterRoleBinding", "operator.lockgate.dev"), "ClusterRole", "operator.lockgate.dev"),
        (("RoleBinding", "lockgate-leader"), "Role", "lockgate-leader"),
    }


def test_a_list_of_namespaces_gives_the_same_rights_there_and_none_in_the_cluster(render: Render) -> None:
    objects = render("namespaces={shop}")

    assert rights(objects["Role", "lockgate"]) == OPERATOR_RIGHTS
    assert objects["Role", "lockgate"]["metadata"]["namespace"] == "shop"
    assert objects["RoleBinding", "lockgate"]["subjects"][0]["namespace"] == "lockgate-system"
    assert not of_kind(objects, "ClusterRoleBinding")
    assert environment(objects)["LOCKGATE_NAMESPACES"] == "shop"


def test_every_listed_namespace_has_its_role(helm: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = helm("template", "lockgate", str(CHART), "--kube-version", "1.37.1", "--set", "namespaces={a,b}")

    bodies = [body for body in yaml.safe_load_all(done.stdout) if body and body["kind"] in {"Role", "RoleBinding"}]
    served = {
        (body["kind"], body["metadata"]["namespace"]) for body in bodies if body["metadata"]["name"] == "lockgate"
    }
    assert served == {("Role", "a"), ("Role", "b"), ("RoleBinding", "a"), ("RoleBinding", "b")}
    assert 'LOCKGATE_NAMESPACES, value: "a,b"' in done.stdout


@pytest.mark.parametrize("values", [(), ("namespaces={shop}",)])
def test_nobody_may_read_secrets_or_use_wildcards(render: Render, values: tuple[str, ...]) -> None:
    for key, body in render(*values).items():
        if key[0] in {"Role", "ClusterRole"}:
            for (group, resource), verbs in rights(body).items():
                assert "*" not in {group, resource, *verbs}, key
                assert resource.partition("/")[0] in {"databasemigrations", "jobs", "pods", "events", "leases"}, key


def test_users_get_the_resource_through_the_common_roles_and_may_not_write_its_status(render: Render) -> None:
    objects = render()

    edit, view = objects["ClusterRole", "edit.lockgate.dev"], objects["ClusterRole", "view.lockgate.dev"]
    assert {name for name in edit["metadata"]["labels"] if "aggregate" in name} == {
        "rbac.authorization.k8s.io/aggregate-to-admin",
        "rbac.authorization.k8s.io/aggregate-to-edit",
    }
    assert rights(edit)["lockgate.dev", "databasemigrations/status"] == {"get"}
    assert set().union(*rights(view).values()) == {"get", "list", "watch"}


def test_the_test_account_may_create_pods_in_one_namespace_and_is_made_for_the_test_alone(render: Render) -> None:
    for objects, namespace in ((render(), "lockgate-system"), (render("namespaces={shop}"), "shop")):
        role = objects["Role", "lockgate-test"]
        assert rights(role) == {("", "pods"): {"create"}}
        assert role["metadata"]["namespace"] == namespace
        command = objects["Pod", "lockgate-test"]["spec"]["containers"][0]["command"]
        assert command[command.index("--namespace") + 1] == namespace
        for kind in ("ServiceAccount", "Role", "RoleBinding"):
            annotations = objects[kind, "lockgate-test"]["metadata"]["annotations"]
            assert annotations["helm.sh/hook"] == "test"
            assert "hook-succeeded" in annotations["helm.sh/hook-delete-policy"]


@pytest.mark.parametrize(
    ("mode", "policies_offered", "expected"),
    [
        ("auto", True, "policy"),
        ("auto", False, "static"),
        ("policy", False, "policy"),
        ("static", True, "static"),
        ("none", True, "none"),
    ],
)
def test_the_gate_is_chosen_by_what_the_cluster_offers_unless_it_is_named(
    render: Render, mode: str, policies_offered: bool, expected: str
) -> None:
    objects = render(f"gate.mode={mode}", policies=policies_offered)

    offered = policies_offered or expected == "policy"
    wanted = (POLICIES if expected == "policy" else set()) | (OWNERS if offered else set())
    assert of_kind(objects, "MutatingAdmissionPolicy") == wanted
    assert len(of_kind(objects, "MutatingAdmissionPolicyBinding")) == len(wanted)
    guards = {f"{name}.lockgate.dev" for name in ("guard", "guard-job", "guard-template", "guard-resource")}
    assert {name for _, name in of_kind(objects, "ValidatingAdmissionPolicy")} == guards
    assert {name for _, name in of_kind(objects, "ValidatingAdmissionPolicyBinding")} == guards
    asks = "lockgate.dev/owner-found" in str(objects["ValidatingAdmissionPolicy", "guard-job.lockgate.dev"])
    assert asks == offered, "what nobody writes cannot be asked for"
    test = objects.get(("Pod", "lockgate-test"))
    assert (test is None) == (expected == "none")
    if test is not None:
        command = test["spec"]["containers"][0]["command"]
        assert command[command.index("--mode") + 1] == expected


def test_only_the_policy_that_sees_the_resource_may_be_skipped_on_errors_and_run_again(render: Render) -> None:
    """Both rest on that: `gate` must never be run after `open`, and no error may let a pod through."""
    objects = render()

    gate = objects["MutatingAdmissionPolicy", "gate.lockgate.dev"]["spec"]
    opening = objects["MutatingAdmissionPolicy", "open.lockgate.dev"]["spec"]
    assert (gate["failurePolicy"], gate["reinvocationPolicy"]) == ("Fail", "Never")
    assert "paramKind" not in gate
    assert (opening["failurePolicy"], opening["reinvocationPolicy"]) == ("Ignore", "IfNeeded")
    assert opening["paramKind"]["kind"] == "DatabaseMigration"


def test_policies_only_look_at_labelled_pods_of_the_namespaces_served(render: Render) -> None:
    everywhere, listed = render(), render("namespaces={shop}")

    for objects, scope in ((everywhere, "lockgate.dev"), (listed, "lockgate.lockgate-system.lockgate.dev")):
        for name in ("gate", "open"):
            constraints = objects["MutatingAdmissionPolicy", f"{name}.{scope}"]["spec"]["matchConstraints"]
            selector = constraints["objectSelector"]["matchExpressions"]
            assert selector == [{"key": "lockgate.dev/migration", "operator": "Exists"}]
            assert ("namespaceSelector" in constraints) == (objects is listed)
    expressions = constraints["namespaceSelector"]["matchExpressions"]
    assert expressions == [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"]}]


@pytest.mark.parametrize(
    "values", [(), ("serviceAccount.name=robot",), ("serviceAccount.create=false", "serviceAccount.name=robot")]
)
def test_the_guard_is_for_the_account_that_the_operator_runs_as(render: Render, values: tuple[str, ...]) -> None:
    objects = render(*values)

    account = operator_pod(objects)["serviceAccountName"]
    for name in ("guard", "guard-job", "guard-template", "guard-resource"):
        condition = objects["ValidatingAdmissionPolicy", f"{name}.lockgate.dev"]["spec"]["matchConditions"][0]
        assert f"'system:serviceaccount:lockgate-system:{account}'" in condition["expression"]
    assert objects["ClusterRoleBinding", "operator.lockgate.dev"]["subjects"][0]["name"] == account


def test_every_pod_of_the_chart_is_restricted(render: Render) -> None:
    objects = render()

    for spec in (operator_pod(objects), objects["Pod", "lockgate-test"]["spec"]):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 65532
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert all("hostPath" not in volume for volume in spec.get("volumes", []))
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"]
            assert container["resources"]["limits"]["memory"]


def test_the_operator_is_told_what_it_needs_and_nothing_else(render: Render) -> None:
    image = "registry.example.com:5000/lockgate:7.0.1"
    objects = render(f"image.repository={image[:-6]}", "image.tag=7.0.1", "image.pullPolicy=Always")

    (container,) = operator_pod(objects)["containers"]
    assert container["image"] == image
    assert "command" not in container
    assert environment(objects) == {
        "POD_NAME": "",
        "POD_NAMESPACE": "",
        "LOCKGATE_NAMESPACES": "",
        "LOCKGATE_OPERATOR_IMAGE": image,
        "LOCKGATE_OPERATOR_IMAGE_PULL_POLICY": "Always",
        "LOCKGATE_RUNNER_RESOURCES": json.dumps(RUNNER, separators=(",", ":"), sort_keys=True),
        "LOCKGATE_LEADER_ELECTION": "true",
        "LOCKGATE_LEASE_NAME": "lockgate",
        "LOCKGATE_LOG_FORMAT": "json",
        "LOCKGATE_LOG_LEVEL": "info",
    }
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


def test_the_image_is_the_chart_s_version_unless_a_digest_is_given(render: Render) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    digest = "sha256:" + "0" * 64

    assert operator_pod(render())["containers"][0]["image"].endswith(f":{version}")
    pinned = operator_pod(render(f"image.digest={digest}", "image.tag=ignored"))["containers"][0]["image"]
    assert pinned == f"localhost/lockgate@{digest}"


def test_the_chart_has_the_version_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    package = (CHART.parents[1] / "operator" / "lockgate" / "__init__.py").read_text()

    assert chart["appVersion"] == chart["version"] == re.findall(r'__version__ = "(.+)"', package)[0]


def test_two_replicas_share_a_budget_and_one_has_none(render: Render) -> None:
    two, one = render(), render("operator.replicas=1", "operator.leaderElection.enabled=false")

    assert two["Deployment", "lockgate"]["spec"]["replicas"] == 2
    assert two["PodDisruptionBudget", "lockgate"]["spec"]["maxUnavailable"] == 1
    assert not of_kind(one, "PodDisruptionBudget")
    assert environment(one)["LOCKGATE_LEADER_ELECTION"] == "false"


def test_every_selector_matches_the_operator_s_pods_and_no_others(render: Render) -> None:
    objects = render("metrics.serviceMonitor.enabled=true", "operator.podLabels.team=a", release="prod")
    labels = objects["Deployment", "prod-lockgate"]["spec"]["template"]["metadata"]["labels"]
    test_labels = objects["Pod", "prod-lockgate-test"]["metadata"]["labels"]

    selectors = [
        objects["Deployment", "prod-lockgate"]["spec"]["selector"]["matchLabels"],
        objects["PodDisruptionBudget", "prod-lockgate"]["spec"]["selector"]["matchLabels"],
        objects["Service", "prod-lockgate-metrics"]["spec"]["selector"],
    ]

    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= test_labels.items()
    assert labels["team"] == "a"
    monitor = objects["ServiceMonitor", "prod-lockgate"]["spec"]["selector"]["matchLabels"]
    assert monitor.items() <= objects["Service", "prod-lockgate-metrics"]["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("operator.replica=3",), "replica"),
        (("gate.mode=polcy",), "mode"),
        (("namespaces={Shop}",), "namespaces"),
        (("image.repository=registry.example.com/lockgate:1",), "repository"),
        (("operator.replicas=2", "operator.leaderElection.enabled=false"), "two operators without a Lease"),
        (("serviceAccount.create=false",), "serviceAccount.name names the account"),
    ],
)
def test_values_that_cannot_be_right_are_refused_with_their_name(
    refusal: Callable[..., str], values: tuple[str, ...], said: str
) -> None:
    assert said in refusal(*values)


def test_every_value_is_in_the_schema_and_every_key_of_the_schema_in_the_values() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(value: Any, described: dict[str, Any], path: str) -> None:
        if described.get("additionalProperties") is False:
            assert set(value) == set(described["properties"]) - {"global"}, path
            for key, inner in value.items():
                compare(inner, described["properties"][key], f"{path}.{key}")

    assert schema["additionalProperties"] is False
    compare(values, schema, "values")


def test_helm_finds_nothing_to_complain_about(helm: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = helm("lint", "--strict", str(CHART))

    assert done.returncode == 0, done.stdout
