from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lockgate.process.metrics import Metrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def value(metrics: Metrics, name: str, /, **labels: str) -> float | None:
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


def test_resources_are_counted_by_their_newest_phase(metrics: Metrics) -> None:
    metrics.observed("ns", "shop", phase="Running", held=4, bypassed=0, unguarded=0)
    metrics.observed("ns", "shop", phase="Ready", held=0, bypassed=1, unguarded=0)
    metrics.observed("ns", "web", phase="Ready", held=2, bypassed=0, unguarded=3)
    assert value(metrics, "lockgate_migrations", phase="Ready") == 2
    assert value(metrics, "lockgate_migrations", phase="Running") == 0
    assert value(metrics, "lockgate_pods", state="held") == 2
    assert value(metrics, "lockgate_pods", state="bypassed") == 1
    assert value(metrics, "lockgate_pods", state="unguarded") == 3


def test_a_status_that_the_server_refuses_is_counted(metrics: Metrics) -> None:
    metrics.status_refused("Invalid")

    assert value(metrics, "lockgate_status_refused_total", reason="Invalid") == 1


def test_a_resource_that_is_gone_no_longer_counts(metrics: Metrics) -> None:
    metrics.observed("ns", "shop", phase="Failed", held=4, bypassed=0, unguarded=0)
    metrics.forgotten("ns", "shop")
    metrics.forgotten("ns", "never-seen")
    assert value(metrics, "lockgate_migrations", phase="Failed") == 0
    assert value(metrics, "lockgate_pods", state="held") == 0
    assert value(metrics, "lockgate_migration_needs_attention", namespace="ns", name="shop", phase="Failed") is None


def test_only_a_resource_that_needs_a_human_is_named(metrics: Metrics) -> None:
    metrics.observed("ns", "bad", phase="Failed", held=0, bypassed=0, unguarded=0)
    metrics.observed("ns", "good", phase="Ready", held=0, bypassed=0, unguarded=0)
    assert value(metrics, "lockgate_migration_needs_attention", namespace="ns", name="bad", phase="Failed") == 1
    assert "good" not in metrics.text().decode()


def test_runs_and_reconciles_are_counted(metrics: Metrics) -> None:
    metrics.run_finished(outcome="Failed", reason="MigrationFailed", seconds=90)
    metrics.gates_opened(3)
    metrics.reconciled(0.2)
    metrics.reconcile_failed("Conflict")
    metrics.leading(True)
    metrics.queue_depth(lambda: 7)
    assert value(metrics, "lockgate_runs_total", outcome="Failed", reason="MigrationFailed") == 1
    assert value(metrics, "lockgate_run_duration_seconds_sum") == 90
    assert value(metrics, "lockgate_gates_opened_total") == 3
    assert value(metrics, "lockgate_reconcile_seconds_count") == 1
    assert value(metrics, "lockgate_reconcile_errors_total", reason="Conflict") == 1
    assert value(metrics, "lockgate_leader") == 1
    assert value(metrics, "lockgate_queue_depth") == 7


def test_every_metric_of_ours_explains_itself(metrics: Metrics) -> None:
    families = list(text_string_to_metric_families(metrics.text().decode()))
    ours = [family for family in families if family.name.startswith("lockgate_") and family.type != "unknown"]
    assert len(ours) >= 10
    assert all(family.documentation.endswith(".") for family in ours if not family.name.endswith("_created"))
