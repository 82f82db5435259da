"""The operator's figures for Prometheus. One registry per `Metrics`, so that tests do not share any.

Labels hold only words from short lists (phase, outcome, reason, state), with one exception: a resource that needs a
human is named, because that is what an alert has to say.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE", "PHASES", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PHASES = ("Pending", "Running", "Verifying", "Ready", "Blocked", "Failed", "Suspended")
NEEDS_A_HUMAN = ("Blocked", "Failed")
RUN_SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)
RECONCILE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60)


@dataclass(frozen=True, slots=True)
class _State:
    phase: str
    held: int
    bypassed: int
    unguarded: int


class _Resources(Collector):
    """Sums over all resources, made when they are asked for: no gauge can drift from what was observed last."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, str], _State] = {}

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the gauges; called by the registry."""
        states = self.states.values()
        phases = Tally(state.phase for state in states)
        migrations = GaugeMetricFamily("lockgate_migrations", "DatabaseMigrations by phase.", labels=["phase"])
        for phase in (*PHASES, *sorted(set(phases) - set(PHASES))):
            migrations.add_metric([phase], phases[phase])
        pods = GaugeMetricFamily(
            "lockgate_pods",
            "Labelled pods: held by the gate, bypassed by annotation, or unguarded (let in while no gate was at work).",
            labels=["state"],
        )
        pods.add_metric(["held"], sum(state.held for state in states))
        pods.add_metric(["bypassed"], sum(state.bypassed for state in states))
        pods.add_metric(["unguarded"], sum(state.unguarded for state in states))
        stalled = GaugeMetricFamily(
            "lockgate_migration_needs_attention",
            "1 for each DatabaseMigration in phase Failed or Blocked; see its condition Ready for what to do.",
            labels=["namespace", "name", "phase"],
        )
        for (namespace, name), state in self.states.items():
            if state.phase in NEEDS_A_HUMAN:
                stalled.add_metric([namespace, name, state.phase], 1)
        return [migrations, pods, stalled]


class Metrics:
    """Satisfies `lockgate.port.MetricsSink` and `lockgate.process.work_queue.QueueSink`. Belongs to one thread."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._resources = _Resources()
        registry.register(self._resources)
        self._runs = Counter(
            "lockgate_runs_total", "Runs that ended, by outcome and reason.", ["outcome", "reason"], registry=registry
        )
        self._run_seconds = Histogram(
            "lockgate_run_duration_seconds",
            "How long a run took, from its start to its end.",
            buckets=RUN_SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            "lockgate_status_refused_total",
            "Statuses that the API server did not take, by reason (an API error's class). They are tried again.",
            ["reason"],
            registry=registry,
        )
        self._opened = Counter(
            "lockgate_gates_opened_total", "Pods whose scheduling gate was removed.", registry=registry
        )
        self._reconciles = Histogram(
            "lockgate_reconcile_seconds",
            "How long one look at a resource took.",
            buckets=RECONCILE_SECONDS,
            registry=registry,
        )
        self._errors = Counter(
            "lockgate_reconcile_errors_total",
            "Looks at a resource that failed, by reason (an API error's class, or Unexpected). They are repeated.",
            ["reason"],
            registry=registry,
        )
        self._leader = Gauge(
            "lockgate_leader", "1 in the operator that works, 0 in one that stands by.", registry=registry
        )
        self._depth = Gauge(
            "lockgate_queue_depth", "Resources that are due for a look, or being looked at.", registry=registry
        )

    def observed(self, namespace: str, name: str, *, phase: str, held: int, bypassed: int, unguarded: int) -> None:
        """Remember the newest state of one resource."""
        self._resources.states[namespace, name] = _State(phase, held, bypassed, unguarded)

    def forgotten(self, namespace: str, name: str) -> None:
        """Drop what was remembered of a resource that is gone."""
        self._resources.states.pop((namespace, name), None)

    def run_finished(self, *, outcome: str, reason: str, seconds: float) -> None:
        """Count a run that ended and how long it took."""
        self._runs.labels(outcome, reason).inc()
        self._run_seconds.observe(seconds)

    def status_refused(self, reason: str) -> None:
        """Count a status that the API server did not take."""
        self._refused.labels(reason).inc()

    def gates_opened(self, count: int) -> None:
        """Count pods whose scheduling gate was removed."""
        self._opened.inc(count)

    def reconciled(self, seconds: float) -> None:
        """Take how long one reconcile took."""
        self._reconciles.observe(seconds)

    def reconcile_failed(self, reason: str) -> None:
        """Count one failed reconcile."""
        self._errors.labels(reason).inc()

    def queue_depth(self, depth: Callable[[], float]) -> None:
        """Ask ``depth`` for the number of waiting and running keys at each scrape."""
        self._depth.set_function(depth)

    def leading(self, leading: bool) -> None:
        """Say whether this operator works or stands by."""
        self._leader.set(leading)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
