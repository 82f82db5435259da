"""The environment of the container that migrates: the only way in which the operator talks to the runner. Pure."""

from __future__ import annotations

import json
import math

from lockgate.port import Object
from lockgate.resource import Migration, SecretKey, seconds

__all__ = ["build_environment", "literal"]

UNLIMITED = 7 * 24 * 3600.0
"""Seconds that stand for "no limit" where a number is needed."""


def build_environment(migration: Migration) -> list[Object]:
    """Build the variables by which the runner is told everything; the URL comes from the Secret, unseen."""
    values = {
        "LOCKGATE_DATABASE_ENV": migration.database.env,
        "LOCKGATE_CONFIG": migration.alembic.config,
        "LOCKGATE_SECTION": migration.alembic.section,
        "LOCKGATE_TARGET": migration.alembic.target,
        "LOCKGATE_ARGS": json.dumps(dict(migration.alembic.args), sort_keys=True),
        "LOCKGATE_BASELINE": migration.alembic.baseline,
        "LOCKGATE_BASELINE_TABLES": ",".join(migration.alembic.baseline_tables),
        "LOCKGATE_FAST_PATH": migration.alembic.fast_path,
        "LOCKGATE_CONNECT": migration.alembic.connect,
        "LOCKGATE_TRANSACTIONS": migration.alembic.transactions,
        "LOCKGATE_LOCK_WAIT": _lock_wait(migration),
        "LOCKGATE_RUN_TIMEOUT": migration.run_timeout,
        "LOCKGATE_DDL_LOCK_TIMEOUT": migration.ddl_lock_timeout,
        "LOCKGATE_STATEMENT_TIMEOUT": migration.statement_timeout,
        "LOCKGATE_DDL_LOCK_ATTEMPTS": str(migration.ddl_lock_attempts),
        "LOCKGATE_DATABASE_AHEAD": "Accept" if migration.downgrade == "Allow" else migration.database_ahead,
        "LOCKGATE_DOWNGRADE": "Allow" if migration.takes_back else "Deny",
        "LOCKGATE_HALF_APPLIED": migration.half_applied,
        "LOCKGATE_CHECKS": json.dumps([dict(check) for check in migration.checks], sort_keys=True),
        "LOCKGATE_RESOURCE": migration.key,
        "LOCKGATE_IMAGE": migration.image,
        "LOCKGATE_RUN": migration.run_id,
        "LOCKGATE_TERMINATION_MESSAGE": "/dev/termination-log",
        "LOCKGATE_OUTPUT": "json",
    }
    pod = {"name": "LOCKGATE_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    url = {"name": migration.database.env, "valueFrom": {"secretKeyRef": _secret_key(migration.database.secret)}}
    return [url, *({"name": name, "value": literal(value)} for name, value in values.items()), pod]


def _lock_wait(migration: Migration) -> str:
    """Let standbys wait as long as the leader may work: giving up earlier would be counted as a failed attempt."""
    if not migration.standbys:
        return migration.lock_wait
    return f"{math.ceil(seconds(migration.lock_wait) + (seconds(migration.run_timeout) or UNLIMITED))}s"


def _secret_key(secret: SecretKey) -> Object:
    return {"name": secret.name, "key": secret.key}


def literal(value: str) -> str:
    """Keep the kubelet from expanding ``$(NAME)`` and ``$$``: the value is what the resource says, to the letter."""
    return value.replace("$", "$$")
