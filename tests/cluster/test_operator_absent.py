"""What works while no operator runs: pods whose schema is there start, others are held, and nothing is lost."""

from __future__ import annotations

from installed_operator import Operator
from shop import Shop, is_held


def test_covered_pods_start_without_the_operator_and_others_wait_for_it(shop: Shop, operator: Operator) -> None:
    shop.run(1)
    operator.stop()
    try:
        shop.deploy(2)
        shop.held(2, count=1)
        shop.migrate(2)
        for pod in shop.pods(1):
            shop.here.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
        # Version 1 is served again by pods that did not exist when the operator stopped.
        shop.here.kubectl("wait", "--for=condition=Available", "deployment/shop", "--timeout=180s")
        assert shop.answer()["shop"] == 1
        assert all(is_held(pod) for pod in shop.pods(2))
    finally:
        operator.start()

    shop.ready()
    shop.rolled_out()
    assert shop.answer()["shop"] == 2


def test_a_migration_that_ends_while_no_operator_runs_is_known_to_the_next_one(shop: Shop, operator: Operator) -> None:
    shop.secret()
    shop.deploy(1)
    shop.migrate(1)
    shop.ready()
    shop.migrate(2, seconds=20)
    shop.working_on("0004")
    operator.stop()
    try:
        shop.here.kubectl("wait", "--for=condition=Complete", "jobs", "--all", "--timeout=180s")
        assert shop.status()["phase"] == "Running"
    finally:
        operator.start()

    shop.ready()
    assert [row["outcome"] for row in shop.status()["history"]] == ["Succeeded", "Succeeded"]
    assert len(shop.here.list("jobs")) == 2
