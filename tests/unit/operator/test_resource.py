"""What makes a run another run, and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lockgate.resource import DEFAULTS, parse, seconds

CRD = Path(__file__).parents[3] / "charts/lockgate/crds/databasemigrations.lockgate.dev.yaml"
SPEC: dict[str, Any] = {
    "image": "shop:1",
    "database": {"urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}},
}


def run_id(annotations: dict[str, str] | None = None, **spec: Any) -> str:
    metadata = {"name": "shop", "namespace": "default", "annotations": annotations or {}}
    return parse({"metadata": metadata, "spec": {**SPEC, **spec}}).run_id


DIRECT = {**SPEC["database"], "directUrlFrom": {"secretKeyRef": {"name": "shop-db", "key": "direct"}}}


@pytest.mark.parametrize(
    "change",
    [
        {"image": "shop:2"},
        {"imagePullPolicy": "Always"},
        {"alembic": {"target": "expand@head"}},
        {"alembic": {"args": {"tenant": "a"}}},
        {"database": {**SPEC["database"], "env": "DB"}},
        {"database": DIRECT},
        {"lock": {"wait": "1h"}},
        {"timeouts": {"run": "2h"}},
        {"policy": {"databaseAhead": "Block"}},
        {"policy": {"halfApplied": "Resume"}},
        {"alembic": {"baseline": "8a1c2d3e4f50"}},
        {"alembic": {"transactions": "AsEnvironment"}},
        {"alembic": {"connect": "Environment"}},
        {"alembic": {"baselineTables": ["orders"]}},
        {"alembic": {"fastPath": "Never"}},
        {"checks": [{"sql": {"query": "SELECT true"}}]},
        {"template": {"spec": {"serviceAccountName": "shop"}}},
        {"runner": {"resources": {"limits": {"cpu": "1"}}}},
        {"annotations": {"lockgate.dev/retry": "1"}},
    ],
    ids=str,
)
def test_what_changes_the_run_changes_its_id(change: dict[str, Any]) -> None:
    assert run_id(**change) != run_id()


@pytest.mark.parametrize(
    "change",
    [
        {"suspend": True},
        {"historyLimit": 3},
        {"retry": {"limit": 0, "ddlLockAttempts": 5}},
        {"lock": {"wait": "15m", "standbys": 3}},
        {name: dict(part) for name, part in DEFAULTS.items() if name != "database"},
        {"database": {**SPEC["database"], "env": "DATABASE_URL"}},
        {"alembic": {}, "checks": [], "template": {}},
        {"annotations": {"example.com/team": "shop"}},
    ],
    ids=str,
)
def test_what_does_not_change_the_run_keeps_its_id(change: dict[str, Any]) -> None:
    assert run_id(**change) == run_id()


def test_the_id_of_a_run_is_fixed_for_ever() -> None:
    """Another value would make every resource of every cluster run again when the operator is upgraded."""
    assert run_id() == "1b81f69995"


def test_nothing_is_filled_in_inside_a_list_that_somebody_else_wrote() -> None:
    """It would be another list than was applied: `kubectl apply` and Argo CD would change it back, each time."""

    def filled(schema: Any, path: str, *, inside: bool) -> list[str]:
        if not isinstance(schema, dict):
            return []
        found = [path] if inside and "default" in schema else []
        for name, inner in schema.get("properties", {}).items():
            found += filled(inner, f"{path}.{name}", inside=inside)
        found += filled(schema.get("additionalProperties"), f"{path}[*]", inside=inside)
        return found + filled(schema.get("items"), f"{path}[]", inside=True)

    (version,) = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    assert filled(version["schema"]["openAPIV3Schema"], "", inside=False) == []


def test_a_check_that_says_its_default_is_the_same_check() -> None:
    short: list[dict[str, Any]] = [
        {"name": "orders", "sql": {"query": "SELECT true"}},
        {"http": {"url": "http://shop"}},
        {"command": {"command": ["true"]}},
        {"indexes": {}},
    ]
    long: list[dict[str, Any]] = [
        {"name": "orders", "sql": {"query": "SELECT true", "expect": "true"}},
        {"http": {"url": "http://shop", "status": 200, "timeout": "5s"}},
        {"command": {"command": ["true"], "timeout": "30s"}},
        {"indexes": {}},
    ]

    def checks(value: list[dict[str, Any]]) -> tuple[Any, ...]:
        metadata = {"name": "shop", "namespace": "default"}
        return parse({"metadata": metadata, "spec": {**SPEC, "checks": value}}).checks

    assert checks(short) == checks(long) == tuple(long)
    assert run_id(checks=short) == run_id(checks=long)
    assert run_id(checks=short) != run_id(checks=[*short[:1]])


def test_the_defaults_are_those_of_the_crd() -> None:
    crd = yaml.safe_load(CRD.read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]

    found = {
        name: {key: field["default"] for key, field in schema[name]["properties"].items() if "default" in field}
        for name in DEFAULTS
    }
    assert found == {name: dict(part) for name, part in DEFAULTS.items()}


def test_the_direct_url_is_the_one_that_the_job_uses() -> None:
    metadata = {"name": "shop", "namespace": "default"}

    pooled = parse({"metadata": metadata, "spec": SPEC})
    direct = parse({"metadata": metadata, "spec": {**SPEC, "database": DIRECT}})

    assert (pooled.database.secret.key, direct.database.secret.key) == ("url", "direct")


@pytest.mark.parametrize(
    ("text", "expected"), [("0s", 0), ("500ms", 0.5), ("30s", 30), ("15m", 900), ("1h30m", 5400), ("1m500ms", 60.5)]
)
def test_durations_are_read(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "15", "1d", "1 h", "h", "-1s", "1.5h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as"):
        seconds(text)
