"""The examples for Kubernetes without the operator: an init container, and a Helm hook.

The operator is installed on the test's cluster, but nothing here carries its label or asks for its resource.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from cluster_access import CHECKOUT, eventually
from shop import Shop, manifest

DEPLOYMENT = CHECKOUT / "examples/init-container/deployment.yaml"
CHART = CHECKOUT / "examples/helm-hook"
MAJORS = pytest.mark.parametrize("major", [3, 4])
NO_DELAY = json.dumps({"seconds": "0"})
"""What version 2's slow revision pretends to need."""


def image(shop: Shop, version: int) -> str:
    """Return the shop's image with the command `lockgate`."""
    return shop.here.access.image(f"localhost/shop-with-lockgate:{version}")


# --- init container -------------------------------------------------------------------------------------------------


def deployment(shop: Shop, version: int) -> dict[str, Any]:
    """Return the example's Deployment with the image of a version."""
    body = yaml.safe_load(DEPLOYMENT.read_text())
    pod = body["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        container["image"] = image(shop, version)
    pod["initContainers"][0]["env"].append({"name": "LOCKGATE_ARGS", "value": NO_DELAY})
    return body


def pods(shop: Shop, version: int) -> list[dict[str, Any]]:
    return [
        pod
        for pod in shop.here.list("pods", "app=shop")
        if pod["spec"]["containers"][0]["image"] == image(shop, version) and "deletionTimestamp" not in pod["metadata"]
    ]


def report(pod: dict[str, Any]) -> dict[str, Any]:
    """Return what the init container of a pod said last."""
    ended = [
        container[state]["terminated"]
        for container in pod["status"].get("initContainerStatuses", [])
        for state in ("state", "lastState")
        if "terminated" in container[state]
    ]
    assert ended, pod["status"]
    return json.loads(ended[0]["message"])


def test_of_replicas_that_start_at_once_one_migrates_and_all_serve(shop: Shop) -> None:
    shop.secret()
    shop.here.apply(manifest("service.yaml"), deployment(shop, 1))
    shop.rolled_out()

    assert shop.answer() == {"shop": 1, "customers": 502, "orders": 2008}
    applied = [[step["revision"] for step in report(pod).get("applied", [])] for pod in pods(shop, 1)]
    assert sorted(applied) == [[], [], ["0001", "0002"]]
    assert "lockgate.dev" not in shop.here.kubectl("get", "deployments,jobs,pods", "-o", "yaml").stdout


def test_a_version_whose_migration_fails_never_starts_and_the_old_one_starts_again_at_any_time(shop: Shop) -> None:
    shop.secret()
    shop.here.apply(manifest("service.yaml"), deployment(shop, 1))
    shop.rolled_out()
    shop.here.apply(deployment(shop, 3))

    def failed() -> None:
        new = pods(shop, 3)
        assert new
        said = report(new[0])
        assert said["reason"] == "MigrationFailed"
        assert "one_account_per_address" in json.dumps(said)

    eventually(failed)
    assert shop.database.revisions() == ["0004"]  # two revisions came before the one that fails
    assert shop.answer()["shop"] == 1

    shop.here.kubectl("rollout", "undo", "deployment/shop")
    shop.here.kubectl("delete", "pod", pods(shop, 1)[0]["metadata"]["name"])
    shop.rolled_out()
    assert len(pods(shop, 1)) == 3
    assert shop.answer()["shop"] == 1
    assert shop.database.revisions() == ["0004"]


# --- Helm hook ------------------------------------------------------------------------------------------------------


@MAJORS
def test_a_hook_migrates_before_each_upgrade_and_stops_one_that_fails(shop: Shop, major: int) -> None:
    shop.secret()

    def helm(version: int, *, check: bool = True) -> Any:
        repository = image(shop, version).rsplit(":", 1)[0]
        values = ("--set", f"image={repository}", "--set", f"version={version}", "--set-string", "args.seconds=0")
        place = ("-n", shop.here.name, "--wait", "--timeout", "90s")
        return shop.here.access.helm(
            "upgrade", "--install", "shop", str(CHART), *place, *values, major=major, check=check
        )

    def deployed() -> str:
        return shop.here.get("deployment", "shop")["spec"]["template"]["spec"]["containers"][0]["image"]

    helm(1)
    assert shop.database.revisions() == ["0002"]
    assert eventually(shop.answer)["shop"] == 1

    stopped = helm(3, check=False)

    assert stopped.returncode != 0
    assert "one_account_per_address" in stopped.stdout + stopped.stderr  # the log of the Job
    assert deployed() == image(shop, 1)
    assert len(shop.here.list("pods", "app=shop-migrate")) == 1  # what cannot get better is not tried again
    assert "one_account_per_address" in shop.here.kubectl("logs", "job/shop-migrate").stdout
    assert shop.answer()["shop"] == 1

    helm(4)

    assert shop.database.revisions() == ["0005"]
    assert deployed() == image(shop, 4)
    assert eventually(shop.answer)["shop"] == 4


def test_without_its_secret_the_job_waits_and_says_for_what(shop: Shop) -> None:
    values = ("--set", f"image={image(shop, 1).rsplit(':', 1)[0]}", "--set", "version=1")
    helm = ("install", "shop", str(CHART), "-n", shop.here.name, "--timeout", "1s", *values)

    stopped = shop.here.access.helm(*helm, check=False)

    assert stopped.returncode != 0

    def says_so() -> None:
        (pod,) = shop.here.list("pods", "app=shop-migrate")
        (container,) = pod["status"]["containerStatuses"]
        assert container["state"]["waiting"]["reason"] == "CreateContainerConfigError"
        assert re.search(r'secret "shop-db" not found', container["state"]["waiting"]["message"])

    eventually(says_so)
    shop.secret()
    shop.here.kubectl("wait", "--for=condition=Complete", "job/shop-migrate", "--timeout=90s")
    assert shop.database.revisions() == ["0002"]
