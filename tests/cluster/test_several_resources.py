"""More than one thing at a time: resources in one namespace, specs that change while a Job runs."""

from __future__ import annotations

from cluster_access import Namespace, eventually
from database_server import Server
from shop import Shop


def test_each_pod_waits_for_the_resource_that_it_names(here: Namespace, postgres: Server) -> None:
    shop, stock, lost = (Shop(here, postgres.database(), name) for name in ("shop", "stock", "lost"))
    for each in (shop, stock, lost):
        each.secret()
        each.deploy(1, replicas=1)
        each.held(1, count=1)

    shop.migrate(1)
    shop.ready()
    shop.rolled_out()
    stock.held(1, count=1)
    assert shop.answer()["shop"] == 1

    stock.migrate(1)
    stock.ready()
    stock.rolled_out()
    assert stock.database.revisions() == shop.database.revisions() == ["0002"]

    # Nothing has this name, so nothing says that its schema is there.
    lost.held(1, count=1)


def test_a_spec_that_changes_while_a_job_runs_is_migrated_after_it(shop: Shop) -> None:
    shop.secret()
    shop.migrate(2, seconds=20)
    shop.working_on("0004")
    (first,) = shop.here.list("jobs")

    shop.migrate(4)

    def waits_for_it() -> None:
        ready = shop.here.condition("shop", "Ready")
        assert ready["status"] == "False"
        assert first["metadata"]["name"] in ready["message"]

    eventually(waits_for_it)
    assert [job["metadata"]["name"] for job in shop.here.list("jobs")] == [first["metadata"]["name"]]

    shop.ready()
    assert shop.database.revisions() == ["0005"]
    jobs = {job["metadata"]["name"]: job["status"] for job in shop.here.list("jobs")}
    assert jobs[first["metadata"]["name"]]["succeeded"] == 1
    assert [(row["image"], row["outcome"]) for row in shop.status()["history"]] == [
        (shop.image(4), "Succeeded"),
        (shop.image(2), "Succeeded"),
    ]
    applied = shop.database.psql("SELECT revision, count(*) FROM lockgate.history GROUP BY 1 ORDER BY 1")
    assert applied.split() == ["0001|1", "0002|1", "0003|1", "0004|1", "0005|1"]


def test_a_suspended_resource_starts_nothing_and_leaves_a_running_job_alone(shop: Shop) -> None:
    shop.secret()
    shop.deploy(1)
    shop.migrate(1, suspend=True)

    def is_suspended() -> None:
        status = shop.status()
        assert status["phase"] == "Suspended"
        assert status["observedGeneration"] == shop.here.get("dbm", "shop")["metadata"]["generation"]

    eventually(is_suspended)
    shop.held(1, count=2)
    assert shop.here.list("jobs") == []

    shop.migrate(1)
    shop.ready()
    shop.rolled_out()

    shop.migrate(2, seconds=20)
    shop.working_on("0004")
    shop.migrate(2, seconds=20, suspend=True)
    shop.here.kubectl("wait", "--for=condition=Complete", "jobs", "--all", "--timeout=180s")
    assert shop.database.revisions() == ["0004"]
    shop.ready()  # what it asks for is there

    shop.migrate(4, suspend=True)
    eventually(is_suspended)
    assert len(shop.here.list("jobs")) == 2


def test_a_resource_deleted_while_its_job_runs_goes_when_the_job_is_done(shop: Shop) -> None:
    shop.secret()
    shop.migrate(2, seconds=20)
    shop.working_on("0004")

    shop.here.kubectl("delete", "dbm/shop", "--wait=false")
    assert shop.here.get("dbm", "shop")["metadata"]["deletionTimestamp"]
    shop.here.kubectl("wait", "--for=delete", "dbm/shop", "--timeout=180s")

    assert shop.database.revisions() == ["0004"]
    eventually(lambda: nothing_left(shop))


def nothing_left(shop: Shop) -> None:
    assert shop.here.list("jobs") == []
    assert shop.here.list("pods") == []


def test_the_operator_writes_nothing_but_status_and_its_finalizer(shop: Shop) -> None:
    shop.secret()
    shop.migrate(1)
    shop.ready()

    metadata = shop.here.get("dbm", "shop")["metadata"]
    assert set(metadata.get("annotations", {})) == {"kubectl.kubernetes.io/last-applied-configuration"}
    assert "labels" not in metadata
    assert "finalizers" not in metadata
