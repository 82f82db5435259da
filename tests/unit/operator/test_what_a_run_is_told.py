"""What the resource says is what the runner reads in the environment of the Job."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.job.manifests import build_job
from lockgate.job.pod_template import Injection
from lockgate.resource import parse, taking_back
from lockgate.runner.invocation.configuration import Configuration, read_configuration
from lockgate.runner.invocation.options import OPTIONS

URL_FROM = {"secretKeyRef": {"name": "shop-db", "key": "url"}}


def resource(**spec: Any) -> dict[str, Any]:
    base = {"image": "shop:1", "database": {"urlFrom": URL_FROM}}
    return {"metadata": {"name": "shop", "namespace": "prod", "uid": "3b6a"}, "spec": {**base, **spec}}


def environment(*, takes_back: bool = False, **spec: Any) -> list[dict[str, Any]]:
    migration = parse(resource(**spec))
    job = build_job(taking_back(migration) if takes_back else migration, Injection("lockgate:1", "IfNotPresent"))
    found: list[dict[str, Any]] = job["spec"]["template"]["spec"]["containers"][0]["env"]
    return found


def told(*, takes_back: bool = False, **spec: Any) -> Configuration:
    """Read what the Job says as the runner does, once the kubelet has resolved it."""
    entries = environment(takes_back=takes_back, **spec)
    values = {entry["name"]: entry["value"].replace("$$", "$") for entry in entries if "value" in entry}
    return read_configuration("migrate", {}, values)


SAID: dict[str, tuple[dict[str, Any], Any]] = {
    "config": ({"alembic": {"config": "db/alembic.ini"}}, "db/alembic.ini"),
    "section": ({"alembic": {"section": "shop"}}, "shop"),
    "target": ({"alembic": {"target": "expand@head"}}, "expand@head"),
    "args": ({"alembic": {"args": {"tenant": "$(ann) 'x'"}}}, (("tenant", "$(ann) 'x'"),)),
    "baseline": ({"alembic": {"baseline": "8a1c,9b2d"}}, "8a1c,9b2d"),
    "baseline_tables": ({"alembic": {"baselineTables": ["orders", "audit.events"]}}, ("orders", "audit.events")),
    "fast_path": ({"alembic": {"fastPath": "Never"}}, "Never"),
    "database_env": ({"database": {"urlFrom": URL_FROM, "env": "SHOP_URL"}}, "SHOP_URL"),
    "lock_wait": ({"lock": {"wait": "1h30m"}}, 5400.0),
    "run_timeout": ({"timeouts": {"run": "2h"}}, 7200.0),
    "ddl_lock_timeout": ({"timeouts": {"ddlLock": "250ms"}}, 0.25),
    "statement_timeout": ({"timeouts": {"statement": "5m"}}, 300.0),
    "ddl_lock_attempts": ({"retry": {"ddlLockAttempts": 7}}, 7),
    "database_ahead": ({"policy": {"databaseAhead": "Block"}}, "Block"),
    "connect": ({"alembic": {"connect": "Url"}}, "Url"),
    "transactions": ({"alembic": {"transactions": "AsEnvironment"}}, "AsEnvironment"),
    "half_applied": ({"policy": {"halfApplied": "Resume"}}, "Resume"),
    "image": ({"image": "shop:2"}, "shop:2"),
}


@pytest.mark.parametrize("field", SAID)
def test_what_the_resource_says_is_what_the_runner_reads(field: str) -> None:
    spec, expected = SAID[field]

    assert getattr(told(**spec), field) == expected
    assert getattr(told(), field) != expected


def test_every_check_of_the_resource_reaches_the_runner() -> None:
    checks = [
        {"name": "full", "sql": {"query": "SELECT count(*) > 0 FROM orders WHERE price > '$(HOME)'"}},
        {"indexes": {"ignore": ["orders_old"]}},
        {"exists": {"tables": ["orders"]}},
        {"constraints": {}},
        {"drift": {"ignore": ["orders_copy"]}},
        {"http": {"url": "http://shop/healthz", "status": 204, "timeout": "5s"}},
        {"command": {"command": ["python", "-m", "shop.smoke"], "timeout": "30s"}},
    ]

    read = told(checks=checks).checks

    assert [type(check).__name__ for check in read] == [
        *("SqlCheck", "IndexCheck", "ExistsCheck", "ConstraintCheck", "DriftCheck", "HttpCheck", "CommandCheck")
    ]
    assert "'$(HOME)'" in str(read[0])


def test_revisions_are_taken_back_only_by_the_run_that_is_for_that() -> None:
    policy = {"downgrade": "Allow", "databaseAhead": "Block"}

    first, second = told(policy=policy), told(policy=policy, takes_back=True)

    # The first one has to find out by how much the database is ahead.
    assert (first.downgrade, first.database_ahead) == ("Deny", "Accept")
    assert second.downgrade == "Allow"
    assert told().downgrade == "Deny"


def test_where_there_is_a_direct_url_the_pod_never_sees_the_other() -> None:
    direct = {"secretKeyRef": {"name": "shop-direct", "key": "dsn"}}
    entries = environment(database={"urlFrom": URL_FROM, "directUrlFrom": direct})

    assert {"name": "DATABASE_URL", "valueFrom": direct} in entries
    assert "shop-db" not in str(entries)


def test_the_runner_has_no_option_that_a_resource_cannot_say() -> None:
    said = {entry["name"] for entry in environment()}

    assert {option.variable for option in OPTIONS if "migrate" in option.commands} == said & {
        option.variable for option in OPTIONS
    }
