"""What the API server says to a DatabaseMigration that cannot be right, before the operator ever sees it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from lockgate.resource import DEFAULTS

Kubectl = Callable[..., subprocess.CompletedProcess[str]]

MINIMAL: dict[str, Any] = {
    "image": "registry.example.com/shop:1",
    "database": {"urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}},
}


def resource(spec: dict[str, Any], namespace: str, name: str = "shop") -> str:
    metadata = {"name": name, "namespace": namespace}
    return json.dumps(
        {"apiVersion": "lockgate.dev/v1alpha1", "kind": "DatabaseMigration", "metadata": metadata, "spec": spec}
    )


def in_template(**spec: Any) -> dict[str, Any]:
    return {"template": {"spec": spec}}


def migrate(**container: Any) -> dict[str, Any]:
    return in_template(containers=[{"name": "migrate", **container}])


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an image with a space": ({"image": "shop: 1"}, "image must be an image reference without spaces"),
    "an empty image": ({"image": ""}, "spec.image"),
    "no URL": ({"database": {}}, "spec.database.urlFrom: Required value"),
    "a variable that is no name": (
        {"database": {"env": "DATABASE-URL"}},
        "must be the name of an environment variable",
    ),
    "a variable of Lockgate's": ({"database": {"env": "LOCKGATE_RUN"}}, "must not start with LOCKGATE_"),
    "a duration without a unit": ({"lock": {"wait": "15"}}, "must be a duration such as 500ms, 30s, 15m or 1h30m"),
    "a duration in days": ({"timeouts": {"run": "1d"}}, "must be a duration such as"),
    "too many standbys": ({"lock": {"standbys": 10}}, "less than or equal to 9"),
    "an unknown policy": ({"policy": {"downgrade": "Ask"}}, 'supported values: "Deny", "Allow"'),
    "a relative target that goes down": ({"alembic": {"target": "-1"}}, "must be an upgrade target such as heads"),
    "a Python with arguments": ({"alembic": {"python": "poetry run python"}}, "one program without arguments"),
    "a check of no kind": ({"checks": [{"name": "orders"}]}, "exactly one of sql, indexes, exists"),
    "a check of two kinds": (
        {"checks": [{"sql": {"query": "SELECT true"}, "indexes": {"ignore": ["*"]}}]},
        "exactly one of sql, indexes, exists",
    ),
    "a check of two kinds without settings": ({"checks": [{"drift": {}, "constraints": {}}]}, "must be exactly one of"),
    "a check for nothing": ({"checks": [{"exists": {}}]}, "exists must name tables, indexes or columns"),
    "a check for an empty list": ({"checks": [{"exists": {"tables": []}}]}, "should have at least 1 items"),
    "a column of no table": (
        {"checks": [{"exists": {"columns": ["customer_id"]}}]},
        "a column must be written with its table",
    ),
    "a table where a list belongs": ({"checks": [{"exists": {"tables": "orders"}}]}, "must be of type array"),
    "a constraint check with a typing error": ({"checks": [{"constraints": {"ignores": ["a"]}}]}, "unknown field"),
    "an ignored difference without a word": ({"checks": [{"drift": {"ignore": [""]}}]}, "should be at least 1 chars"),
    "a file where a URL belongs": (
        {"checks": [{"http": {"url": "file:///etc/passwd"}}]},
        "http.url must start with http:// or https://",
    ),
    "a request without a URL": ({"checks": [{"http": {}}]}, "http.url: Required value"),
    "a status that is none": (
        {"checks": [{"http": {"url": "http://shop", "status": 20}}]},
        "greater than or equal to 100",
    ),
    "a time-out without a unit": (
        {"checks": [{"http": {"url": "http://shop", "timeout": "5"}}]},
        "must be a duration such as 500ms, 30s, 15m or 1h30m",
    ),
    "a command of no words": ({"checks": [{"command": {"command": []}}]}, "should have at least 1 items"),
    "a command line": ({"checks": [{"command": {"command": "python -m shop"}}]}, "must be of type array"),
    "another restart policy": (in_template(restartPolicy="OnFailure"), "restartPolicy must be left out"),
    "another command": (migrate(command=["sh"]), "must not set image, command or args"),
    "another image": (migrate(image="other"), "must not set image, command or args"),
    "a variable of Lockgate's in the template": (
        migrate(env=[{"name": "LOCKGATE_TARGET", "value": "base"}]),
        "must not set variables that start with LOCKGATE_",
    ),
    "the URL in the template": (
        migrate(env=[{"name": "DATABASE_URL", "value": "x"}]),
        "must not set the variable that database.env names",
    ),
    "a sidecar without an image": (
        in_template(containers=[{"name": "proxy"}]),
        "a container beside migrate needs an image",
    ),
    "two containers of a name": (
        in_template(containers=[{"name": "a", "image": "a"}, {"name": "a", "image": "b"}]),
        "Duplicate value",
    ),
    "an init container of our name": (
        in_template(initContainers=[{"name": "lockgate", "image": "a"}]),
        "no init container may be named lockgate",
    ),
    "a volume of our name": (in_template(volumes=[{"name": "lockgate"}]), "no volume may be named lockgate"),
    "a mount without a path": (migrate(volumeMounts=[{"name": "ca"}]), "volumeMounts[0].mountPath: Required value"),
    "a label of ours": (
        {"template": {"metadata": {"labels": {"lockgate.dev/migration": "shop"}}}},
        "must not contain lockgate.dev/ keys",
    ),
    "an unknown field": ({"imgae": "x"}, 'unknown field "spec.imgae"'),
    "no history": ({"historyLimit": 0}, "greater than or equal to 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_resource_is_refused_with_what_to_write_instead(kubectl: Kubectl, namespace: str, case: str) -> None:
    change, words = REFUSED[case]
    spec = {**MINIMAL, **change}
    if change.get("database"):
        spec["database"] = {**MINIMAL["database"], **change["database"]}

    answer = kubectl("create", "--dry-run=server", "-f", "-", stdin=resource(spec, namespace), check=False)

    assert answer.returncode != 0
    assert words in answer.stderr


def test_a_name_that_leaves_no_room_for_the_name_of_a_job_is_refused(kubectl: Kubectl, namespace: str) -> None:
    text = resource(MINIMAL, namespace, name="a" * 51)

    answer = kubectl("create", "--dry-run=server", "-f", "-", stdin=text, check=False)

    assert "metadata.name must be at most 50 characters" in answer.stderr


def test_standbys_are_refused_where_the_name_has_a_dot_and_their_job_could_not_be(
    kubectl: Kubectl, namespace: str
) -> None:
    def create(standbys: int) -> subprocess.CompletedProcess[str]:
        text = resource({**MINIMAL, "lock": {"standbys": standbys}}, namespace, name="shop.v2")
        return kubectl("create", "--dry-run=server", "-f", "-", stdin=text, check=False)

    assert "lock.standbys must be 0 where metadata.name contains a dot" in create(1).stderr
    assert create(0).returncode == 0


def test_a_minimal_resource_gets_the_defaults_that_the_operator_counts_on(kubectl: Kubectl, namespace: str) -> None:
    spec = {**MINIMAL, "suspend": True}

    kubectl("create", "-f", "-", stdin=resource(spec, namespace, name="minimal"))
    stored = json.loads(kubectl("get", "dbm", "minimal", "-n", namespace, "-o", "json").stdout)

    assert stored["spec"].pop("database") == {**DEFAULTS["database"], **MINIMAL["database"]}
    assert stored["spec"] == {
        "image": MINIMAL["image"],
        "suspend": True,
        "historyLimit": 10,
        **{name: dict(part) for name, part in DEFAULTS.items() if name != "database"},
    }


def test_a_resource_that_no_operator_has_seen_counts_as_in_progress(kubectl: Kubectl, namespace: str) -> None:
    text = resource(MINIMAL, namespace)

    answer = kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=text)

    assert json.loads(answer.stdout)["status"] == {"observedGeneration": -1}


FULL: dict[str, Any] = {
    **MINIMAL,
    "imagePullPolicy": "IfNotPresent",
    "alembic": {
        "config": "db/alembic.ini",
        "target": "expand@head",
        "args": {"tenant": "a b"},
        "python": "/venv/bin/python",
        "baseline": "8a1c2d3e4f50",
        "baselineTables": ["orders", "audit.events"],
        "fastPath": "Never",
        "transactions": "AsEnvironment",
        "connect": "Environment",
    },
    "policy": {"downgrade": "Allow", "databaseAhead": "Block", "halfApplied": "Resume"},
    "lock": {"wait": "1h30m", "standbys": 2},
    "timeouts": {"run": "0s", "ddlLock": "250ms", "statement": "5m"},
    "checks": [
        {"name": "orders", "sql": {"query": "SELECT count(*) FROM orders", "expect": "0"}},
        {"indexes": {"ignore": ["*"]}},
        {"exists": {"tables": ["orders", "shop.items"], "indexes": ["orders_day"], "columns": ["shop.items.price"]}},
        {"constraints": {}},
        {"constraints": {"ignore": ["orders_day_check"]}},
        {"drift": {}},
        {"name": "models", "drift": {"ignore": ["orders_archive", "index orders_day"]}},
        {"http": {"url": "https://shop.example.com/healthz?deep=1", "status": 204, "timeout": "1m"}},
        {"command": {"command": ["python", "-m", "shop.smoke", ""], "timeout": "2m"}},
    ],
    "template": {
        "metadata": {"labels": {"team": "shop"}, "annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": {
            "serviceAccountName": "shop",
            "volumes": [{"name": "ca", "secret": {"secretName": "ca"}}],
            "containers": [
                {"name": "migrate", "env": [{"name": "PGSSLMODE", "value": "require"}]},
                {"name": "proxy", "image": "proxy:1"},
            ],
        },
    },
}


def test_a_resource_that_uses_everything_is_accepted_unchanged(kubectl: Kubectl, namespace: str) -> None:
    answer = kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=resource(FULL, namespace))

    stored = json.loads(answer.stdout)["spec"]
    whole = ("template", "checks", "timeouts", "lock", "policy")
    assert {name: stored[name] for name in whole} == {name: FULL[name] for name in whole}
    assert stored["alembic"] == {"section": "alembic", **FULL["alembic"]}


def test_what_was_applied_once_is_unchanged_when_it_is_applied_again(kubectl: Kubectl, namespace: str) -> None:
    checks: list[dict[str, Any]] = [
        {"sql": {"query": "SELECT true"}},
        {"http": {"url": "http://shop"}},
        {"command": {"command": ["true"]}},
    ]
    resources = {"limits": {"cpu": 1, "memory": "1024Mi"}}
    spec = {**MINIMAL, "suspend": True, "checks": checks, "runner": {"resources": resources}}
    text = resource({**spec, **migrate(resources=resources)}, namespace)
    kubectl("apply", "-f", "-", stdin=text)

    again = kubectl("apply", "-f", "-", stdin=text)
    difference = kubectl("diff", "-f", "-", stdin=text, check=False)

    assert again.stdout.endswith("unchanged\n")
    assert (difference.returncode, difference.stdout) == (0, "")
    stored = json.loads(kubectl("get", "dbm", "shop", "-n", namespace, "-o", "json").stdout)
    assert stored["spec"]["checks"] == checks
    assert stored["metadata"]["generation"] == 1


def test_every_field_of_the_spec_is_explained(kubectl: Kubectl) -> None:
    crd = json.loads(kubectl("get", "crd", "databasemigrations.lockgate.dev", "-o", "json").stdout)
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]

    def silent(schema: dict[str, Any], path: str) -> list[str]:
        found = []
        for name, inner in schema.get("properties", {}).items():
            here = f"{path}.{name}"
            if "description" not in inner:
                found.append(here)
            if here != "spec.template":
                found += silent(inner, here)
        return found

    assert silent(spec, "spec") == []


def test_resources_can_be_selected_by_image(kubectl: Kubectl, namespace: str) -> None:
    for name, image in (("one", "shop:1"), ("two", "shop:2")):
        spec = {**MINIMAL, "image": image, "suspend": True}
        kubectl("create", "-f", "-", stdin=resource(spec, namespace, name=name))

    found = kubectl("get", "dbm", "-n", namespace, "--field-selector", "spec.image=shop:2", "-o", "name").stdout

    assert found.split() == ["databasemigration.lockgate.dev/two"]
