"""No password of this run can be read anywhere but in its Secret. Runs last: it reads what all other tests left."""

from __future__ import annotations

from urllib.parse import quote

from database_server import Server
from installed_operator import Operator
from shop import Shop


def test_no_password_is_in_any_log_status_event_or_manifest(
    shop: Shop, postgres: Server, operator: Operator, evidence: list[str]
) -> None:
    # The worst cases, of its own: a password that the server refuses, and a revision that fails.
    shop.secret(url=shop.database.url.replace(shop.database.password, "a-wrong-password-4711"))
    shop.migrate(3)
    shop.stalled("InvalidConfiguration")
    shop.secret()
    shop.here.kubectl("annotate", "dbm/shop", "lockgate.dev/retry=1")
    shop.stalled("MigrationFailed")

    seen = "\n".join([*evidence, shop.here.everything(), operator.logs()])
    for told in (shop.name, "one_account_per_address", "lockgate.dev/run-of", '"lockgate":"report"', '"level"'):
        assert told in seen  # it did look at statuses, manifests, and the logs of runners and operators
    for password in [*postgres.passwords, "a-wrong-password-4711"]:
        assert password not in seen
        assert quote(password, safe="") not in seen
