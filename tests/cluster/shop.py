"""The example application in the cluster: its own manifests, at the version that a test asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml
from cluster_access import CHECKOUT, Namespace, eventually
from database_server import Database

MANIFESTS = CHECKOUT / "examples/shop/manifests"


def manifest(file: str) -> dict[str, Any]:
    """Return a manifest of examples/shop as a dict."""
    return yaml.safe_load((MANIFESTS / file).read_text())


@dataclass(frozen=True)
class Shop:
    """A shop called ``name``: DatabaseMigration, Deployment, Service and Secret have this name in them."""

    here: Namespace
    database: Database
    name: str = "shop"

    def secret(self, **changed: str) -> None:
        """Apply the Secret."""
        self.here.apply(
            manifest("secret.yaml")
            | {"metadata": {"name": f"{self.name}-db"}, "stringData": {"url": self.database.url} | changed}
        )

    def image(self, version: int) -> str:
        """Return the image of a version, loaded into the cluster."""
        return self.here.access.image(f"localhost/shop:{version}")

    def migrate(self, version: int = 1, *, seconds: float = 0, image: str = "", **spec: Any) -> None:
        """Apply the DatabaseMigration; ``seconds`` is how long version 2's slow revision takes."""
        body = manifest("migration.yaml")
        body["metadata"]["name"] = self.name
        body["spec"]["image"] = image or self.image(version)
        body["spec"]["database"]["urlFrom"]["secretKeyRef"]["name"] = f"{self.name}-db"
        body["spec"]["alembic"] = {"args": {"seconds": str(seconds)}}
        body["spec"] |= spec
        self.here.apply(body)

    def deploy(self, version: int = 1, replicas: int = 2) -> None:
        """Apply Deployment and Service."""
        text = json.dumps([manifest("deployment.yaml"), manifest("service.yaml")])
        deployment, service = json.loads(
            text.replace('"shop"', f'"{self.name}"').replace('"shop-db"', f'"{self.name}-db"')
        )
        deployment["spec"]["replicas"] = replicas
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = self.image(version)
        self.here.apply(deployment, service)

    def run(self, version: int = 1) -> None:
        """Bring everything to this version, and wait until it serves."""
        self.secret()
        self.migrate(version)
        self.deploy(version)
        self.ready()
        self.rolled_out()

    def ready(self, timeout: int = 240) -> None:
        """Wait as a user would."""
        self.here.kubectl("wait", "--for=condition=Ready", f"dbm/{self.name}", f"--timeout={timeout}s")

    def rolled_out(self, timeout: int = 180) -> None:
        """Wait for the Deployment."""
        self.here.kubectl("rollout", "status", f"deployment/{self.name}", f"--timeout={timeout}s")

    def status(self) -> dict[str, Any]:
        """Return the DatabaseMigration's status."""
        return self.here.get("dbm", self.name)["status"]

    def answer(self) -> dict[str, Any]:
        """Ask the Service which version it is and how many rows it sees."""
        path = f"/api/v1/namespaces/{self.here.name}/services/{self.name}:8000/proxy/healthz"
        return json.loads(self.here.kubectl("get", "--raw", path).stdout)

    def pods(self, version: int) -> list[dict[str, Any]]:
        """Return the pods of this version that are not about to end."""
        return [
            pod
            for pod in self.here.list("pods", f"app={self.name}")
            if pod["spec"]["containers"][0]["image"] == self.image(version)
            and "deletionTimestamp" not in pod["metadata"]
        ]

    def held(self, version: int, count: int) -> list[dict[str, Any]]:
        """Wait until ``count`` pods of this version exist and all of them are held, and return them."""

        def all_held() -> list[dict[str, Any]]:
            pods = self.pods(version)
            assert len(pods) == count
            assert all(is_held(pod) for pod in pods)
            return pods

        return eventually(all_held)

    def stalled(self, reason: str, timeout: float = 180) -> str:
        """Wait until a human is needed for this reason, and return what is said to them."""

        def says_so() -> str:
            condition = self.here.condition(self.name, "Stalled")
            assert (condition["status"], condition["reason"]) == ("True", reason), self.status()
            ready = self.here.condition(self.name, "Ready")
            assert ready["status"] == "False"
            return condition["message"]

        return eventually(says_so, timeout)

    def working_on(self, *words: str, timeout: float = 150) -> dict[str, Any]:
        """Wait until the running revision's step and statement contain these words, and return the status."""

        def is_there() -> dict[str, Any]:
            status = self.status()
            run = status.get("run") or {}
            said = f"{run.get('step', '')} {run.get('statement', '')}"
            assert all(word in said for word in words), status
            return status

        return eventually(is_there, timeout)


def is_held(pod: dict[str, Any]) -> bool:
    """Whether the scheduler leaves this pod alone because of Lockgate's gate."""
    return {"name": "lockgate.dev/migration"} in pod["spec"].get("schedulingGates", [])
