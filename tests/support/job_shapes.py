"""Resources that lead to Jobs of each shape; what is built of them is in the golden files."""

from __future__ import annotations

from typing import Any

__all__ = ["SHAPES", "SPEC", "TEMPLATE"]

SPEC: dict[str, Any] = {
    "image": "registry.example.com/shop:1.4.2",
    "database": {"urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}},
}
TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"team": "shop"}, "annotations": {"karpenter.sh/do-not-disrupt": "false"}},
    "spec": {
        "serviceAccountName": "shop",
        "imagePullSecrets": [{"name": "registry"}],
        "securityContext": {"runAsUser": 1000, "fsGroup": 1000},
        "volumes": [{"name": "ca", "secret": {"secretName": "ca"}}],
        "initContainers": [{"name": "unpack", "image": "busybox:1", "command": ["true"]}],
        "containers": [
            {
                "name": "migrate",
                "env": [{"name": "PGSSLROOTCERT", "value": "/ca/ca.crt"}, {"name": "HOME", "value": "/home/shop"}],
                "envFrom": [{"configMapRef": {"name": "shop"}}],
                "resources": {"limits": {"memory": "512Mi"}},
                "volumeMounts": [{"name": "ca", "mountPath": "/ca", "readOnly": True}],
            },
            {"name": "cloud-sql-proxy", "image": "proxy:2", "args": ["--port=5432"]},
        ],
    },
}
SHAPES: dict[str, dict[str, Any]] = {
    "minimal": {},
    "standbys": {"lock": {"wait": "15m", "standbys": 2}},
    "template": {
        "imagePullPolicy": "Always",
        "alembic": {"config": "db/alembic.ini", "args": {"price": "$(HOME)"}, "python": "/app/.venv/bin/python"},
        "database": {**SPEC["database"], "directUrlFrom": {"secretKeyRef": {"name": "shop-db", "key": "direct"}}},
        "checks": [{"name": "orders", "sql": {"query": "SELECT true", "expect": "true"}}],
        "timeouts": {"run": "0s", "ddlLock": "250ms", "statement": "5m"},
        "template": TEMPLATE,
    },
}
