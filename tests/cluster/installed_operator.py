"""The operator as its chart installs it."""

from __future__ import annotations

from cluster_access import CHECKOUT, Access, Namespace

SYSTEM = "lockgate-system"


class Operator:
    """The release `lockgate` in the namespace lockgate-system."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.kubectl = Namespace(access, SYSTEM).kubectl

    def install(self, major: int = 4) -> None:
        """Install or upgrade the chart with this major version of Helm, and wait for the operator."""
        repository, tag = self.access.image(self.access.settings["LOCKGATE_IMAGE"]).rsplit(":", 1)
        image = ("--set", f"image.repository={repository}", "--set", f"image.tag={tag}")
        place = ("-n", SYSTEM, "--create-namespace", "--wait", "--timeout", "120s")
        self.access.helm(
            "upgrade", "--install", "lockgate", str(CHECKOUT / "charts/lockgate"), *place, *image, major=major
        )

    def uninstall(self) -> None:
        """Remove the release; definition and resources stay."""
        self.access.helm("uninstall", "lockgate", "-n", SYSTEM, "--wait", "--timeout", "60s")

    def stop(self) -> None:
        """Scale to zero, and wait until no operator is left."""
        self.kubectl("scale", "deployment/lockgate", "--replicas=0")
        self.kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=operator", "--timeout=180s")

    def start(self) -> None:
        """Scale up again."""
        self.kubectl("scale", "deployment/lockgate", "--replicas=2")
        self.kubectl("rollout", "status", "deployment/lockgate", "--timeout=180s")

    def logs(self) -> str:
        """Return everything that the operators of now have logged."""
        return self.kubectl("logs", "-l", "app.kubernetes.io/component=operator", "--tail=-1").stdout
