"""Both majors of Helm: the chart's own installation, and an application whose migration is part of its chart."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cluster_access import CHECKOUT
from installed_operator import SYSTEM, Operator
from shop import Shop

POLICIES = "mutatingadmissionpolicies,mutatingadmissionpolicybindings,validatingadmissionpolicies"
MAJORS = pytest.mark.parametrize("major", [3, 4])


@MAJORS
def test_an_application_and_its_migration_are_installed_and_upgraded_by_one_chart(shop: Shop, major: int) -> None:
    shop.secret()

    def helm(version: int, *more: str) -> Any:
        values = ("--set", f"version={version}", "--set", f"image={shop.image(version).rsplit(':', 1)[0]}")
        chart = ("upgrade", "--install", "shop", str(CHECKOUT / "examples/shop/chart"), "-n", shop.here.name)
        return shop.here.access.helm(*chart, *values, "--set", "seconds=1", *more, major=major)

    helm(1, "--wait", "--timeout", "90s")
    shop.ready(timeout=1)  # Helm 4 waited for it, and with Helm 3 the Deployment could not be there without it
    assert shop.answer()["shop"] == 1

    # Helm applies the Deployment first: its pods come while the resource is still Ready for version 1.
    helm(2)
    shop.ready()
    shop.rolled_out()
    assert shop.answer()["shop"] == 2

    helm(3)
    shop.stalled("MigrationFailed")
    shop.here.access.helm("rollback", "shop", "2", "-n", shop.here.name, major=major)
    shop.ready()
    shop.rolled_out()
    assert shop.answer()["shop"] == 2
    assert shop.database.revisions() == ["0004"]


@MAJORS
def test_the_chart_is_installed_tested_and_removed(operator: Operator, shop: Shop, major: int) -> None:
    operator.uninstall()
    left = operator.access.kubectl("get", POLICIES, "-o", "name").stdout
    assert "lockgate.dev" not in left
    try:
        operator.install(major=major)
        tested = operator.access.helm("test", "lockgate", "-n", SYSTEM, "--timeout", "90s", major=major).stdout
        assert "Succeeded" in tested
        shop.run(1)
    finally:
        if major == 3:
            operator.uninstall()
            operator.install()


def test_the_operator_can_read_no_secret(operator: Operator) -> None:
    deployment = json.loads(operator.kubectl("get", "deployment/lockgate", "-o", "json").stdout)
    account = f"system:serviceaccount:{SYSTEM}:{deployment['spec']['template']['spec']['serviceAccountName']}"
    for verb in ("get", "list", "watch"):
        answer = operator.access.kubectl("auth", "can-i", verb, "secrets", "-A", "--as", account, check=False)
        assert answer.stdout.strip() == "no"
