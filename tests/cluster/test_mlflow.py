"""A history that nobody here wrote: MLflow's 67 revisions, from an image that contains nothing of Lockgate."""

from __future__ import annotations

from typing import Any

from cluster_access import Namespace, eventually
from database_server import Database

IMAGE = "localhost/mlflow:3.17.2"
REVISIONS = 67
# MLflow's first revision expects the tables of the time before Alembic.
BASE_TABLES = """
import os
from sqlalchemy import create_engine
from mlflow.store.tracking.dbmodels.initial_models import Base
Base.metadata.create_all(create_engine(os.environ["DATABASE_URL"]))
"""


def secret(database: Database) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "mlflow-db"},
        "stringData": {"url": database.url},
    }


def base_tables(image: str) -> dict[str, Any]:
    """Return the container that makes them."""
    return {
        "name": "base-tables",
        "image": image,
        "command": ["python3", "-c", BASE_TABLES],
        "env": [{"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "mlflow-db", "key": "url"}}}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def migration(name: str, image: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "lockgate.dev/v1alpha1",
        "kind": "DatabaseMigration",
        "metadata": {"name": name},
        "spec": {
            "image": image,
            "alembic": {"config": "mlflow/store/db_migrations/alembic.ini"},
            "database": {"urlFrom": {"secretKeyRef": {"name": "mlflow-db", "key": "url"}}},
        }
        | spec,
    }


def applied(database: Database) -> list[str]:
    """Return how often each revision is in the history."""
    return database.psql("SELECT count(*) FROM lockgate.history GROUP BY revision").split()


def test_mlflow_is_migrated_by_a_resource_that_makes_its_base_tables_first(here: Namespace, database: Database) -> None:
    image = here.access.image(IMAGE)
    here.apply(secret(database))

    here.apply(migration("mlflow", image, template={"spec": {"initContainers": [base_tables(image)]}}))
    here.kubectl("wait", "--for=condition=Ready", "dbm/mlflow", "--timeout=180s")

    status = here.get("dbm", "mlflow")["status"]
    assert applied(database) == ["1"] * REVISIONS
    assert database.revisions() == status["revision"]["current"] == status["revision"]["target"]
    assert len(status["satisfied"]["revisions"]) == REVISIONS
    assert database.psql("SELECT count(*) FROM information_schema.tables WHERE table_name = 'trace_info'") == "1"


def test_of_ten_runners_at_once_one_applies_the_history_and_none_fails(here: Namespace, database: Database) -> None:
    image = here.access.image(IMAGE)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "base-tables"},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [base_tables(image)],
        },
    }
    here.apply(secret(database), pod)
    here.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/base-tables", "--timeout=120s")

    # The table that the first revision alters: nobody gets further before all ten are there.
    with database.held("metrics"):
        here.apply(*(migration(f"mlflow-{n}", image, retry={"ddlLockAttempts": 200}) for n in range(10)))
        eventually(lambda: nine_wait(here), timeout=180)
    here.kubectl("wait", "--for=condition=Ready", "dbm", "--all", "--timeout=240s")

    runs = [row for dbm in here.list("dbm") for row in dbm["status"]["history"]]
    assert [run["outcome"] for run in runs] == ["Succeeded"] * 10
    assert sorted(run["reason"] for run in runs) == ["Migrated"] + ["NothingToDo"] * 9
    assert applied(database) == ["1"] * REVISIONS
    phases = [pod["status"]["phase"] for pod in here.list("pods", "app.kubernetes.io/component=migration")]
    assert phases == ["Succeeded"] * 10


def nine_wait(here: Namespace) -> None:
    """Assert that nine say which session has the lock; they hold none themselves."""
    said = [dbm["status"].get("run", {}).get("waitingFor", "") for dbm in here.list("dbm")]
    assert [text.startswith("lock held by pid") for text in said].count(True) == 9, said
