"""What goes wrong before a migration starts: who looks at the resource is told what, and it recovers by itself."""

from __future__ import annotations

import json

import pytest
from cluster_access import eventually
from shop import Shop


def says(shop: Shop, reason: str, *words: str, timeout: float = 60) -> None:
    """Wait until Ready is False for this reason, with a message of one line that contains these words."""

    def said() -> None:
        ready = shop.here.condition("shop", "Ready")
        assert (ready["status"], ready["reason"]) == ("False", reason), ready
        assert all(word in ready["message"] for word in words), ready
        assert "\n" not in ready["message"]
        assert "Traceback" not in ready["message"]

    eventually(said, timeout)


def test_a_missing_secret_is_named_and_the_run_goes_on_when_it_appears(shop: Shop) -> None:
    shop.migrate(1)
    says(shop, "SecretNotFound", "shop-db")

    shop.secret()
    shop.ready()
    assert shop.database.revisions() == ["0002"]


def test_a_missing_key_of_a_secret_is_named_and_the_run_goes_on_when_it_appears(shop: Shop) -> None:
    shop.secret()
    source = {"urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "address"}}}
    shop.migrate(1, database=source)
    says(shop, "SecretKeyNotFound", "shop-db", "address")

    shop.secret(address=shop.database.url)
    shop.ready()
    assert shop.database.revisions() == ["0002"]


def test_a_pod_that_cannot_be_created_is_told_in_the_job_controllers_words_and_the_run_goes_on(shop: Shop) -> None:
    shop.secret()
    shop.migrate(1, template={"spec": {"serviceAccountName": "migrator"}})
    says(shop, "PodNotCreated", 'serviceaccount "migrator" not found')

    shop.here.kubectl("create", "serviceaccount", "migrator")
    shop.ready()
    assert shop.database.revisions() == ["0002"]


def test_an_image_that_cannot_be_pulled_is_named_and_a_corrected_one_is_used(shop: Shop) -> None:
    shop.secret()
    shop.migrate(image="localhost/nobody-built-this:1")
    says(shop, "ImageNotAvailable", "localhost/nobody-built-this:1")

    shop.migrate(1)
    shop.ready()
    assert shop.database.revisions() == ["0002"]


@pytest.mark.parametrize(
    ("image", "reason", "word"),
    [
        pytest.param("localhost/without-alembic:1", "AlembicNotInstalled", "lembic", id="without Alembic"),
        pytest.param("localhost/without-python:1", "PythonNotFound", "spec.alembic.python", id="without Python"),
    ],
)
def test_an_image_that_cannot_migrate_is_said_to_be_so_and_a_corrected_one_is_used(
    shop: Shop, image: str, reason: str, word: str
) -> None:
    shop.secret()
    shop.migrate(image=shop.here.access.image(image))
    assert word in shop.stalled(reason)
    assert "Traceback" not in shop.here.kubectl("get", "dbm,jobs,pods,events", "-o", "yaml").stdout

    shop.migrate(1)
    shop.ready()
    assert shop.database.revisions() == ["0002"]


def test_a_login_that_is_refused_is_not_repeated_until_a_human_asks(shop: Shop) -> None:
    shop.secret(url=shop.database.url.replace(shop.database.password, "not-the-password"))
    shop.migrate(1)
    said = shop.stalled("InvalidConfiguration")
    assert "password authentication failed" in said
    assert "lockgate.dev/retry" in said

    shop.secret()
    shop.here.kubectl("annotate", "dbm/shop", "lockgate.dev/retry=1")
    shop.here.kubectl("wait", "--for=condition=Stalled=false", "dbm/shop", "--timeout=120s")
    shop.ready()
    assert shop.database.revisions() == ["0002"]


def test_a_database_that_cannot_be_reached_is_tried_again_until_it_is_there(shop: Shop) -> None:
    server = f"postgres.{shop.database.server.namespace.name}.svc"
    shop.secret(url=shop.database.url.replace(server, "not-yet"))
    shop.migrate(1)

    def waits() -> None:
        status = shop.status()
        assert "not-yet" in json.dumps(status), status
        assert shop.here.condition("shop", "Stalled")["status"] == "False"
        assert shop.here.condition("shop", "Reconciling")["status"] == "True"

    eventually(waits)
    shop.here.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "not-yet"},
            "spec": {"type": "ExternalName", "externalName": f"{server}.cluster.local"},
        }
    )
    shop.ready(timeout=120)
    assert shop.database.revisions() == ["0002"]
