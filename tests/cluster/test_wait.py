"""`lockgate wait` as an init container: pods that ask the database themselves, without label, gate or API access."""

from __future__ import annotations

from typing import Any

from cluster_access import eventually
from shop import Shop, manifest

CONFINED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def waiting_deployment(shop: Shop, version: int) -> dict[str, Any]:
    """Return the shop's Deployment without Lockgate's label, with the runner brought in by an init container."""
    body = manifest("deployment.yaml")
    template = body["spec"]["template"]
    del template["metadata"]["labels"]["lockgate.dev/migration"]
    application = template["spec"]["containers"][0]
    application["image"] = shop.image(version)
    folder = [{"name": "lockgate", "mountPath": "/lockgate"}]
    operator = shop.here.access.image(shop.here.access.settings["LOCKGATE_IMAGE"])
    template["spec"]["volumes"] = [{"name": "lockgate", "emptyDir": {}}]
    template["spec"]["initContainers"] = [
        {
            "name": "lockgate",
            "image": operator,
            "command": ["cp", "/opt/lockgate/lockgate.pyz", "/lockgate/lockgate.pyz"],
            "volumeMounts": folder,
            "securityContext": CONFINED,
        },
        {
            "name": "wait",
            "image": application["image"],
            "command": ["python3", "/lockgate/lockgate.pyz", "wait"],
            "env": application["env"],
            "volumeMounts": folder,
            "securityContext": CONFINED,
        },
    ]
    return body


def test_pods_that_wait_in_an_init_container_start_when_their_schema_is_there(shop: Shop) -> None:
    shop.secret()
    shop.migrate(1)
    shop.ready()
    shop.here.apply(manifest("service.yaml"), waiting_deployment(shop, 2))

    def waits() -> None:
        pods = shop.pods(2)
        assert len(pods) == 2
        for pod in pods:
            assert "schedulingGates" not in pod["spec"]
            states = {c["name"]: c["state"] for c in pod["status"].get("initContainerStatuses", [])}
            assert "running" in states["wait"]
        log = shop.here.kubectl("logs", pods[0]["metadata"]["name"], "-c", "wait").stdout
        assert "0004" in log, log

    eventually(waits)
    shop.migrate(2, seconds=1)
    shop.ready()
    shop.rolled_out()
    assert shop.answer()["shop"] == 2
