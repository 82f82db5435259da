"""`kubectl wait --for=condition=Ready` returns exactly when the schema is there."""

from __future__ import annotations

from shop import Shop


def test_kubectl_wait_returns_when_the_database_is_migrated_also_right_after_an_edit(shop: Shop) -> None:
    shop.secret()
    shop.migrate(1)
    shop.ready()
    assert shop.database.revisions() == ["0002"]

    shop.migrate(2, seconds=3)
    shop.ready()
    assert shop.database.revisions() == ["0004"]

    # An edit that needs no work, and then one that does, without a pause.
    shop.migrate(2, seconds=0)
    shop.migrate(4)
    shop.ready()
    assert shop.database.revisions() == ["0005"]


def test_kubectl_wait_does_not_return_while_a_migration_cannot_succeed(shop: Shop) -> None:
    shop.secret()
    shop.migrate(2)
    shop.ready()
    shop.migrate(3)

    waited = shop.here.kubectl("wait", "--for=condition=Ready", "dbm/shop", "--timeout=8s", check=False)
    assert waited.returncode != 0
    assert "timed out" in waited.stderr

    shop.here.kubectl("wait", "--for=condition=Stalled", "dbm/shop", "--timeout=60s")
