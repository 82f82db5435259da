"""The pod of a run: ours, with ``spec.template`` laid over it, with what must not be changed laid over that. Pure.

What must not be changed: labels, the runner's command and variables, and the restart policy that exactly-once rests on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lockgate.decide.views import INJECTOR, MIGRATE
from lockgate.job.overlay import overlay
from lockgate.job.pod_environment import build_environment, literal
from lockgate.port import Object
from lockgate.resource import GROUP, Migration

__all__ = ["RESOURCES", "Injection", "build_pod_template"]

RUNNER = "/lockgate/lockgate.pyz"
RUNNER_IN_OPERATOR_IMAGE = "/opt/lockgate/lockgate.pyz"
NON_ROOT = 65532
"""As in the operator's own image. A user image that has no such user works: HOME is set."""
RESOURCES: Mapping[str, Any] = {
    "requests": {"cpu": "10m", "memory": "16Mi"},
    "limits": {"cpu": "100m", "memory": "64Mi"},
}
"""Of the init container, which copies one file. With limits: a quota on them refuses a pod of which one has none."""
DISRUPTION = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}


@dataclass(frozen=True, slots=True)
class Injection:
    """Where the runner comes from: the operator's own image."""

    image: str
    pull_policy: str = ""
    """Empty: what the kubelet does without being told."""
    resources: Mapping[str, Any] = field(default_factory=lambda: RESOURCES)
    """Of the init container, where the resource does not say."""


def build_pod_template(migration: Migration, injection: Injection, labels: dict[str, str]) -> Object:
    """Build the Job's pod template; ``labels`` are ours and win over the template's."""
    given = migration.template.get("metadata") or {}
    ours = f"{GROUP}/"
    theirs = {k: v for k, v in (given.get("labels") or {}).items() if not k.startswith(ours)}
    notes = {k: v for k, v in (given.get("annotations") or {}).items() if not k.startswith(ours)}
    return {
        "metadata": {"labels": {**theirs, **labels}, "annotations": {**DISRUPTION, **notes}},
        "spec": _pod_spec(migration, injection),
    }


def _pod_spec(migration: Migration, injection: Injection) -> Object:
    spec: Object = overlay(_our_pod(), _with_sidecars(migration.template.get("spec") or {}))
    spec["initContainers"] = [
        _injector(injection, migration.runner_resources),
        *(_hardened(c) for c in spec.get("initContainers") or ()),
    ]
    main = next(container for container in spec["containers"] if container["name"] == MIGRATE)
    spec["containers"] = [_fixed(main, migration)]
    spec["volumes"] = [
        {"name": INJECTOR, "emptyDir": {}},
        *(volume for volume in spec.get("volumes") or () if volume.get("name") != INJECTOR),
    ]
    return spec | {"restartPolicy": "Never"}


def _our_pod() -> Object:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 60,  # to cancel a statement and roll back
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NON_ROOT,
            "runAsGroup": NON_ROOT,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": MIGRATE,
                "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
                "securityContext": _restricted(),
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "env": [{"name": "HOME", "value": "/tmp"}, {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],  # noqa: S108  # the pod's own
            }
        ],
    }


def _with_sidecars(given: Any) -> Object:
    """Turn further containers into native sidecars: as plain containers they would keep the Job from ending."""
    containers = given.get("containers") or []
    sidecars = [{**c, "restartPolicy": "Always"} for c in containers if c.get("name") != MIGRATE]
    inits = [c for c in given.get("initContainers") or [] if c.get("name") != INJECTOR]
    mains = [c for c in containers if c.get("name") == MIGRATE]
    return {**given, "containers": mains, "initContainers": [*inits, *sidecars]}


def _injector(injection: Injection, resources: Mapping[str, Any] | None) -> Object:
    pull = {"imagePullPolicy": injection.pull_policy} if injection.pull_policy else {}
    return {
        "name": INJECTOR,
        "image": injection.image,
        **pull,
        "command": ["cp", RUNNER_IN_OPERATOR_IMAGE, RUNNER],
        "resources": dict(injection.resources if resources is None else resources),
        "securityContext": {**_restricted(), "readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": INJECTOR, "mountPath": "/lockgate"}],
    }


def _restricted() -> Object:
    """Build what the ``restricted`` Pod Security level asks of every container."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _hardened(container: Object) -> Object:
    return {**container, "securityContext": overlay(_restricted(), container.get("securityContext") or {})}


def _fixed(container: Object, migration: Migration) -> Object:
    """Lay what must not be changed over the container that migrates."""
    ours = build_environment(migration)
    names = {entry["name"] for entry in ours}
    free = [e for e in container.get("env") or () if e.get("name") not in names]
    mounts = [m for m in container.get("volumeMounts") or () if m.get("mountPath") != "/lockgate"]
    pull = {"imagePullPolicy": migration.image_pull_policy} if migration.image_pull_policy else {}
    return {
        **{key: value for key, value in container.items() if key != "args"},
        **pull,
        "image": migration.image,
        "command": [literal(migration.alembic.python), RUNNER, MIGRATE],
        "env": [*ours, *free],
        "volumeMounts": [{"name": INJECTOR, "mountPath": "/lockgate", "readOnly": True}, *mounts],
    }
