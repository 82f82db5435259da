"""What the operator is told: flags, each with an environment variable as its default (the chart sets those)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lockgate import __version__
from lockgate.job.pod_template import RESOURCES

__all__ = ["Settings", "parse"]

YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set."""

    namespaces: tuple[str, ...]
    """Namespaces to look after; none means all."""
    image: str
    """Reference of the image that carries the runner: the operator's own."""
    image_pull_policy: str
    runner_resources: Mapping[str, Any]
    """Requests and limits of the init container that brings the runner."""
    pod_namespace: str
    pod_name: str
    leader_election: bool
    lease_name: str
    host: str
    port: int
    workers: int
    kubeconfig: str | None
    log_format: str
    log_level: str


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings; exits with 2 and a sentence where they cannot be right."""
    parser = _parser(environment)
    given = parser.parse_args(arguments)
    if not given.image:
        parser.error("--image or LOCKGATE_OPERATOR_IMAGE: which image carries the runner? Give the operator's own.")
    host, _, port = given.listen.rpartition(":")
    if not port.isdigit():
        parser.error(f"--listen {given.listen!r}: give host:port, for example 0.0.0.0:8080")
    return Settings(
        namespaces=tuple(sorted({name.strip() for name in given.namespaces.split(",") if name.strip()})),
        image=given.image,
        image_pull_policy=given.image_pull_policy,
        runner_resources=given.runner_resources,
        pod_namespace=given.pod_namespace,
        pod_name=given.pod_name,
        leader_election=given.leader_election,
        lease_name=given.lease_name,
        host=host.strip("[]"),
        port=int(port),
        workers=given.workers,
        kubeconfig=given.kubeconfig,
        log_format=given.log_format,
        log_level=given.log_level,
    )


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    env = environment.get
    parser = argparse.ArgumentParser(
        prog="lockgate-operator",
        description="Runs migrations for DatabaseMigrations and opens the gate of the pods that wait for them.",
        epilog="Exit codes: 0 ended on request; 1 an error, see the last log line; 2 wrong flags; 3 lost the Lease.",
    )
    add = parser.add_argument
    add("--version", action="version", version=f"%(prog)s {__version__}")
    add(
        "--namespaces",
        default=env("LOCKGATE_NAMESPACES", ""),
        help="comma-separated list; empty: all of the cluster (LOCKGATE_NAMESPACES)",
    )
    add(
        "--image",
        default=env("LOCKGATE_OPERATOR_IMAGE", ""),
        help="the operator's own image, which the migration's init container takes the runner from"
        " (LOCKGATE_OPERATOR_IMAGE)",
    )
    add(
        "--image-pull-policy",
        choices=("Always", "IfNotPresent", "Never"),
        type=_listed("Always", "IfNotPresent", "Never"),
        default=env("LOCKGATE_OPERATOR_IMAGE_PULL_POLICY") or "IfNotPresent",
        help="for that init container (LOCKGATE_OPERATOR_IMAGE_PULL_POLICY)",
    )
    add(
        "--runner-resources",
        type=_resources,
        metavar="JSON",
        default=env("LOCKGATE_RUNNER_RESOURCES") or json.dumps(RESOURCES),
        help="requests and limits of that init container (LOCKGATE_RUNNER_RESOURCES)",
    )
    add("--pod-namespace", default=env("POD_NAMESPACE") or "default", help="where the Lease is (POD_NAMESPACE)")
    add("--pod-name", default=env("POD_NAME") or env("HOSTNAME") or "lockgate-operator", help="own name (POD_NAME)")
    add(
        "--leader-election",
        type=_switch,
        metavar="true|false",
        default=env("LOCKGATE_LEADER_ELECTION", "true"),
        help="take a Lease before working, as more than one replica needs (LOCKGATE_LEADER_ELECTION)",
    )
    add("--lease-name", default=env("LOCKGATE_LEASE_NAME") or "lockgate-operator", help="(LOCKGATE_LEASE_NAME)")
    add(
        "--listen",
        metavar="HOST:PORT",
        default=env("LOCKGATE_LISTEN") or "0.0.0.0:8080",
        help="/healthz, /readyz and /metrics (LOCKGATE_LISTEN)",
    )
    add(
        "--workers",
        type=_count,
        default=env("LOCKGATE_WORKERS") or "4",
        help="resources looked at at the same time (LOCKGATE_WORKERS)",
    )
    add("--kubeconfig", help="outside of a cluster; default: $KUBECONFIG or ~/.kube/config")
    add(
        "--log-format",
        type=_listed("json", "text"),
        default=env("LOCKGATE_LOG_FORMAT") or "json",
        help="json or text (LOCKGATE_LOG_FORMAT)",
    )
    add(
        "--log-level",
        type=_listed("DEBUG", "INFO", "WARNING", "ERROR"),
        default=env("LOCKGATE_LOG_LEVEL") or "INFO",
        help="DEBUG, INFO, WARNING or ERROR (LOCKGATE_LOG_LEVEL)",
    )
    return parser


class _listed:  # noqa: N801 - used like a function
    """A type for argparse that also checks what comes from the environment, which ``choices`` does not."""

    def __init__(self, *words: str) -> None:
        self._words = {word.lower(): word for word in words}

    def __call__(self, text: str) -> str:
        """Return the word as it is written in the list."""
        if text.lower() not in self._words:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(self._words.values())}")
        return self._words[text.lower()]


def _resources(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, dict) for value in found.values()):
        raise argparse.ArgumentTypeError(f'{text!r} is not JSON such as {{"limits": {{"memory": "64Mi"}}}}')
    return found


def _switch(text: str) -> bool:
    if text.lower() not in (*YES, *NO):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in YES


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100")
    return int(text)
