"""The story of the example application: install, upgrade, a migration that fails, going back, going on."""

from __future__ import annotations

from typing import Any

from cluster_access import eventually
from shop import Shop, is_held


def test_a_deployment_applied_before_its_migration_starts_when_the_schema_is_there(shop: Shop) -> None:
    shop.secret()
    shop.deploy(1)
    shop.held(1, count=2)
    shown = shop.here.kubectl("get", "pods", "-l", "app=shop", "--no-headers").stdout
    assert shown.count("SchedulingGated") == 2

    shop.migrate(1)
    shop.ready()
    shop.rolled_out()

    assert shop.answer() == {"shop": 1, "customers": 502, "orders": 2008}
    assert shop.database.revisions() == ["0002"]
    status = shop.status()
    assert [row["outcome"] for row in status["history"]] == ["Succeeded"]
    assert status["revision"]["current"] == ["0002"]
    assert {row["image"] for row in status["satisfied"]["images"]} == {shop.image(1)}
    assert set(status["satisfied"]["revisions"]) == {"0001", "0002"}
    eventually(lambda: gate_is(shop, held=0, opened=2))


def gate_is(shop: Shop, **counts: int) -> None:
    gate = shop.status()["gate"]
    assert {name: gate[name] for name in counts} == counts


def test_a_migration_pod_has_no_way_to_the_api_and_no_password_in_its_manifest(shop: Shop) -> None:
    shop.secret()
    shop.migrate(1)
    shop.ready()

    (pod,) = shop.here.list("pods", "lockgate.dev/run-of=shop")
    log = shop.here.kubectl("logs", pod["metadata"]["name"]).stdout
    assert "Running upgrade 0001 -> 0002, customers of the old shop" in log  # env.py's logging, as without Lockgate
    mounted = [mount["mountPath"] for c in all_containers(pod) for mount in c.get("volumeMounts", [])]
    assert mounted  # the runner's folder
    assert not [path for path in mounted if "serviceaccount" in path]
    manifests = shop.here.kubectl("get", "jobs,pods,databasemigrations", "-o", "yaml").stdout
    assert shop.database.password not in manifests


def all_containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]


def test_old_pods_serve_during_an_upgrade_until_the_gate_opens_for_the_new_ones(shop: Shop) -> None:
    shop.run(1)

    shop.deploy(2)
    shop.migrate(2, seconds=20)
    shop.held(2, count=1)
    seen: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []

    def done() -> None:
        seen.append(shop.status())
        answers.append(shop.answer())
        assert shop.here.condition("shop", "Ready")["status"] == "True"

    eventually(done)
    shop.rolled_out()

    # While the migration ran, nobody but the old pods answered, and they always did.
    during = [answer for status, answer in zip(seen, answers, strict=True) if status["phase"] == "Running"]
    assert during
    assert {answer["shop"] for answer in during} == {1}
    assert {answer["orders"] for answer in during} == {2008}
    steps = {status["run"].get("step", "") for status in seen if status.get("run")}
    assert any("0004" in step and step.startswith("2/2") for step in steps), steps
    assert any("UPDATE orders" in (status.get("run") or {}).get("statement", "") for status in seen)
    assert shop.answer()["shop"] == 2
    assert shop.database.psql("SELECT count(*) FROM orders WHERE currency = 'EUR'") == "2008"


def test_a_failed_migration_leaves_the_old_pods_and_can_be_undone_or_corrected(shop: Shop) -> None:
    shop.run(2)

    shop.deploy(3)
    shop.migrate(3)
    said = shop.stalled("MigrationFailed")
    held = shop.held(3, count=1)

    assert "0005" in said
    assert "one_account_per_address" in said
    assert "\n" not in said
    assert shop.answer()["shop"] == 2
    assert shop.database.revisions() == ["0004"]
    assert shop.status()["history"][0]["outcome"] == "Failed"

    shop.here.kubectl("rollout", "undo", "deployment/shop")
    shop.rolled_out()
    assert not [
        pod for pod in shop.here.list("pods") if pod["metadata"]["name"] == held[0]["metadata"]["name"] and is_held(pod)
    ]
    assert shop.answer()["shop"] == 2

    shop.deploy(4)
    shop.migrate(4)
    shop.ready()
    shop.rolled_out()
    assert shop.answer() == {"shop": 4, "customers": 501, "orders": 2008}


def test_going_back_to_an_image_that_was_migrated_before_is_ready_at_once(shop: Shop) -> None:
    shop.run(2)
    shop.migrate(3)
    shop.stalled("MigrationFailed")

    shop.migrate(2)
    shop.ready()

    assert shop.database.revisions() == ["0004"]
    assert [row["outcome"] for row in shop.status()["history"]].count("Failed") == 1


def test_old_pods_that_are_lost_come_back_while_the_database_is_ahead(shop: Shop) -> None:
    shop.run(1)
    with shop.database.held("orders", "SHARE"):  # for reading only: the revision cannot go on, the old pods can
        shop.migrate(2)
        shop.working_on("0003")
        shop.here.kubectl("delete", "pods", "-l", "app=shop")
        shop.rolled_out()
        assert shop.status()["phase"] == "Running"  # they did not wait for it
    shop.ready()

    shop.here.kubectl("delete", "pods", "-l", "app=shop")
    shop.rolled_out()
    assert shop.answer()["shop"] == 1
    assert shop.database.revisions() == ["0004"]


def test_a_failed_migration_is_tried_again_when_a_human_asks(shop: Shop) -> None:
    shop.run(2)
    shop.migrate(3)
    shop.stalled("MigrationFailed")
    shop.database.psql("UPDATE customers SET email = 'ada.l@example.com' WHERE name = 'Ada L.'")

    shop.here.kubectl("annotate", "dbm/shop", "lockgate.dev/retry=1")

    eventually(lambda: assert_ready(shop))
    assert shop.database.revisions() == ["0005"]


def assert_ready(shop: Shop) -> None:
    assert shop.here.condition("shop", "Ready")["status"] == "True"
