"""A rollback of the image that takes the schema back, because the policy allows it."""

from __future__ import annotations

from cluster_access import eventually
from shop import Shop

ALLOW = {"downgrade": "Allow"}


def test_a_rollback_takes_the_schema_back_and_holds_the_pods_that_need_the_newer_one(shop: Shop) -> None:
    shop.run(2)
    assert shop.database.revisions() == ["0004"]

    shop.deploy(1)
    shop.migrate(1, policy=ALLOW)
    seen: list[tuple[str, ...]] = []
    early: list[bool] = []

    def taken_back() -> None:
        status = shop.status()
        ready = shop.here.condition("shop", "Ready")
        early.append(ready["status"] == "True" and ready["reason"] in ("DatabaseAhead", "TakingBack"))
        if shop.database.revisions() != ["0004"]:
            seen.append(tuple(sorted(status["satisfied"]["revisions"])))
        assert (ready["status"], ready["reason"]) == ("True", "Downgraded")

    eventually(taken_back, 240)
    shop.rolled_out()

    assert shop.database.revisions() == ["0002"]
    assert not any(early)
    assert set(seen) == {("0001", "0002")}  # never more than was there
    status = shop.status()
    assert [row["reason"] for row in status["history"]][:2] == ["Downgraded", "TakingBack"]
    assert {row["image"] for row in status["satisfied"]["images"]} == {shop.image(1)}
    assert shop.answer() == {"shop": 1, "customers": 502, "orders": 2008}

    shop.deploy(2)
    shop.held(2, count=1)
    shop.migrate(2, policy=ALLOW)
    shop.ready()
    shop.rolled_out()
    assert shop.answer()["shop"] == 2
    assert shop.database.revisions() == ["0004"]


def test_where_it_is_not_allowed_the_database_stays_ahead(shop: Shop) -> None:
    shop.run(2)

    shop.deploy(1)
    shop.migrate(1)
    shop.ready()
    shop.rolled_out()

    assert shop.here.condition("shop", "Ready")["reason"] == "DatabaseAhead"
    assert shop.database.revisions() == ["0004"]
    assert {row["image"] for row in shop.status()["satisfied"]["images"]} == {shop.image(1), shop.image(2)}
