"""The one thing the operator builds: the Job of a run. Pure; its pod is built in `lockgate.job.pod_template`."""

from __future__ import annotations

import math

from lockgate.decide.views import DATABASE, IMAGE, MIGRATE, RUN, RUN_OF
from lockgate.errors import CheckFailed, Interrupted, InvalidConfiguration, MigrationFailed, Refused
from lockgate.job.pod_template import Injection, build_pod_template
from lockgate.port import DATABASE_MIGRATION, JOB, Object
from lockgate.resource import GROUP, Migration, seconds

__all__ = ["build_job"]

PERMANENT = sorted({error.exit_code for error in (MigrationFailed, InvalidConfiguration, Refused, CheckFailed)})
CANNOT_RUN = [126, 127, 128]
"""What shells and container runtimes answer for a program that is not there or cannot be started."""
SLACK = 600.0
"""Seconds on top of lock wait and run time: placing the pod, pulling images, pauses between attempts."""
KEPT = 3 * 24 * 3600
"""Seconds that an ended Job, and with it the log, stays: a long weekend. The history in the status stays anyway."""


def build_job(migration: Migration, injection: Injection) -> Object:
    """Build the Job that runs what the resource asks for now."""
    labels = {
        RUN_OF: migration.name,
        RUN: migration.run_id,
        "app.kubernetes.io/managed-by": "lockgate",
        "app.kubernetes.io/component": "migration",
    }
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": {
            "name": migration.job_name,
            "namespace": migration.namespace,
            "labels": labels,
            "annotations": {
                IMAGE: migration.image,
                DATABASE: migration.database.fingerprint,
                f"{GROUP}/generation": str(migration.generation),
            },
            "ownerReferences": [_owner(migration)],
        },
        "spec": _job_spec(migration) | {"template": build_pod_template(migration, injection, labels)},
    }


def _owner(migration: Migration) -> Object:
    return {
        "apiVersion": DATABASE_MIGRATION.api_version,
        "kind": DATABASE_MIGRATION.kind,
        "name": migration.name,
        "uid": migration.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _job_spec(migration: Migration) -> Object:
    spec: Object = {
        "podReplacementPolicy": "Failed",  # never two pods of one attempt at once
        "ttlSecondsAfterFinished": KEPT,
        "podFailurePolicy": {
            "rules": [
                # first, so that nothing a disrupted pod says on its way out ends the Job
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                _on_exit("FailJob", [*PERMANENT, *CANNOT_RUN]),
                _on_exit("Ignore", [Interrupted.exit_code]),
            ]
        },
    }
    run = seconds(migration.run_timeout)
    if run:  # 0s: no limit
        spec["activeDeadlineSeconds"] = math.ceil(run + seconds(migration.lock_wait) + SLACK)
    return spec | (_indexed(migration) if migration.standbys else _single(migration))


def _single(migration: Migration) -> Object:
    return {"completions": 1, "parallelism": 1, "backoffLimit": migration.retry_limit}


def _indexed(migration: Migration) -> Object:
    """Run the leader's standbys as further indexes: the first one that succeeds is enough.

    The limit is per index, so that a standby which gives up waiting does not end the Job under the leader's feet.
    """
    count = migration.standbys + 1
    return {
        "completionMode": "Indexed",
        "completions": count,
        "parallelism": count,
        "backoffLimitPerIndex": migration.retry_limit,
        "successPolicy": {"rules": [{"succeededCount": 1}]},
    }


def _on_exit(action: str, codes: list[int]) -> Object:
    return {"action": action, "onExitCodes": {"containerName": MIGRATE, "operator": "In", "values": codes}}
