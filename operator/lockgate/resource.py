"""A DatabaseMigration, parsed once into a frozen value. Nothing behind this module looks into the raw spec.

The CRD has checked types, patterns and required fields before an object gets here, so parsing does not validate again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

__all__ = [
    "DEFAULTS",
    "FINALIZER",
    "GROUP",
    "RETRY_ANNOTATION",
    "Alembic",
    "Database",
    "Migration",
    "SecretKey",
    "parse",
    "seconds",
    "taking_back",
]

GROUP = "lockgate.dev"
FINALIZER = f"{GROUP}/run"
"""On the resource only while a Job of it is active, so that deleting the resource does not kill a migration."""
RETRY_ANNOTATION = f"{GROUP}/retry"
"""Changing its value asks for another try of the same spec."""

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "alembic": {"config": "alembic.ini", "section": "alembic", "target": "heads", "args": {}, "python": "python3"},
    "database": {"env": "DATABASE_URL"},
    "lock": {"wait": "15m", "standbys": 0},
    "timeouts": {"run": "1h", "ddlLock": "500ms", "statement": "0s"},
    "retry": {"limit": 6, "ddlLockAttempts": 40},
    "policy": {"downgrade": "Deny", "databaseAhead": "Accept", "halfApplied": "Stop"},
}
"""The CRD's defaults, again: the run id leaves them out, so that a default added later starts no new run by itself."""

CHECK_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "sql": {"expect": "true"},
    "http": {"status": 200, "timeout": "5s"},
    "command": {"timeout": "30s"},
}
"""What a check is where it does not say. Not the CRD's: a default inside a list makes the list another one than was
applied, so that `kubectl apply` changes it back each time and no difference to what stands in Git is ever empty."""

NOT_PART_OF_A_RUN = ("suspend", "historyLimit", "retry")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One key of a Secret in the resource's namespace; the operator only ever knows its name."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Alembic:
    """What to call: ``spec.alembic``."""

    config: str
    section: str
    target: str
    args: Mapping[str, str]
    python: str
    baseline: str = ""
    baseline_tables: tuple[str, ...] = ()
    fast_path: str = "Auto"
    transactions: str = "Auto"
    connect: str = "Auto"


@dataclass(frozen=True, slots=True)
class Database:
    """Where the URL comes from: ``spec.database``."""

    env: str
    url: SecretKey
    direct_url: SecretKey | None
    fingerprint: str
    """Changes when ``spec.database`` does: what was satisfied in one database says nothing about another."""

    @property
    def secret(self) -> SecretKey:
        """The key that the Job uses: the direct URL where there is one, so the pod never sees the pooler."""
        return self.direct_url or self.url


@dataclass(frozen=True, slots=True)
class Migration:
    """One DatabaseMigration as its owner wrote it. Durations stay as written, for example ``15m``."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created: str
    """RFC 3339, as the API server writes it."""
    deleting: bool
    finalizers: tuple[str, ...]
    image: str
    image_pull_policy: str
    alembic: Alembic
    database: Database
    lock_wait: str
    standbys: int
    run_timeout: str
    ddl_lock_timeout: str
    statement_timeout: str
    retry_limit: int
    ddl_lock_attempts: int
    database_ahead: str
    downgrade: str
    """``Allow``: what a database is ahead of this image by is taken back, by a run of its own."""
    half_applied: str
    checks: tuple[Mapping[str, Any], ...]
    template: Mapping[str, Any]
    runner_resources: Mapping[str, Any] | None
    """Of the init container that brings the runner; None: as the operator was told."""
    suspend: bool
    history_limit: int
    run_id: str
    """Ten hexadecimal characters over everything that changes what would run."""
    takes_back: bool = False
    """This is the run that takes back what the run before it has found."""

    @property
    def job_name(self) -> str:
        """The name of the Job of this run: creating it twice is refused by the API server, which is the point."""
        return f"{self.name}-{self.run_id}"

    @property
    def key(self) -> str:
        """``namespace/name``, as people and the runner write it."""
        return f"{self.namespace}/{self.name}"


def parse(body: Mapping[str, Any]) -> Migration:
    """Turn an object of the API server into a Migration."""
    meta, spec = body["metadata"], body["spec"]
    part = {name: {**DEFAULTS[name], **(spec.get(name) or {})} for name in DEFAULTS}
    alembic, timeouts = part["alembic"], part["timeouts"]
    return Migration(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta.get("uid", ""),
        generation=meta.get("generation", 0),
        resource_version=meta.get("resourceVersion", ""),
        created=meta.get("creationTimestamp", ""),
        deleting="deletionTimestamp" in meta,
        finalizers=tuple(meta.get("finalizers") or ()),
        image=spec["image"],
        image_pull_policy=spec.get("imagePullPolicy") or "",
        alembic=Alembic(
            **{name: alembic[name] for name in ("config", "section", "target", "args", "python")},
            baseline=alembic.get("baseline") or "",
            baseline_tables=tuple(alembic.get("baselineTables") or ()),
            fast_path=alembic.get("fastPath") or "Auto",
            connect=alembic.get("connect") or "Auto",
            transactions=alembic.get("transactions") or "Auto",  # no default of the CRD: it would be a new run
        ),
        database=_database(part["database"]),
        lock_wait=part["lock"]["wait"],
        standbys=part["lock"]["standbys"],
        run_timeout=timeouts["run"],
        ddl_lock_timeout=timeouts["ddlLock"],
        statement_timeout=timeouts["statement"],
        retry_limit=part["retry"]["limit"],
        ddl_lock_attempts=part["retry"]["ddlLockAttempts"],
        database_ahead=part["policy"]["databaseAhead"],
        downgrade=part["policy"]["downgrade"],
        half_applied=part["policy"]["halfApplied"],
        checks=_checks(spec),
        template=spec.get("template") or {},
        runner_resources=(spec.get("runner") or {}).get("resources"),
        suspend=bool(spec.get("suspend")),
        history_limit=spec.get("historyLimit", 10),
        run_id=_run_id(meta, spec),
    )


def taking_back(migration: Migration) -> Migration:
    """Return the run that follows where the database is ahead and revisions may be taken back."""
    return replace(migration, run_id=_digest({"takes back after": migration.run_id}), takes_back=True)


def seconds(duration: str) -> float:
    """Return a duration such as ``1h30m`` or ``500ms`` in seconds."""
    parts = re.findall(r"([0-9]+)(ms|s|m|h)", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"{duration!r} is not a duration such as 500ms, 30s, 15m or 1h30m")
    return sum(int(number) * UNITS[unit] for number, unit in parts)


def _database(spec: Mapping[str, Any]) -> Database:
    def secret(name: str) -> SecretKey | None:
        source = (spec.get(name) or {}).get("secretKeyRef")
        return SecretKey(source["name"], source["key"]) if source else None

    url = secret("urlFrom")
    if url is None:
        raise ValueError("spec.database.urlFrom.secretKeyRef is missing, although the CRD requires it")
    return Database(spec["env"], url, secret("directUrlFrom"), _digest(_without_defaults("database", spec)))


def _checks(spec: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    return tuple({kind: _filled(kind, value) for kind, value in check.items()} for check in spec.get("checks") or ())


def _filled(kind: str, value: Any) -> Any:
    return {**CHECK_DEFAULTS.get(kind, {}), **value} if isinstance(value, Mapping) else value


def _run_id(meta: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """Hash what would run. Retry limits and standbys are left out: they change how often and where, not what."""
    content = {name: _without_defaults(name, spec[name]) for name in spec if name not in NOT_PART_OF_A_RUN}
    if "checks" in content:
        content["checks"] = list(_checks(spec))  # as they were stored while the CRD filled them in
    if isinstance(content.get("lock"), dict):
        content["lock"].pop("standbys", None)
    retry = (meta.get("annotations") or {}).get(RETRY_ANNOTATION)
    return _digest({"spec": {name: value for name, value in content.items() if value}, "retry": retry or None})


def _without_defaults(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    default = DEFAULTS.get(name, {})
    return {key: item for key, item in value.items() if item is not None and item != default.get(key)}


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]
