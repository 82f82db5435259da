"""Ask the API server whether the gate is at work, without leaving anything behind. This is what ``helm test`` runs.

A pod that nothing can cover is created as a server-side dry run: it goes through every admission policy of the cluster
and comes back as it would have been stored. With the gate on it, pods of the applications are held as well. Policies
act a second or two after they were created, so the question is asked again until the answer is right or the time over.

Exit code 0: at work; 1: not, and the last line says what came back instead.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

__all__ = ["Answer", "Verdict", "dry_run", "judge", "main", "probe", "probe_pod"]

Mode = Literal["policy", "static"]

GATE = "lockgate.dev/migration"
NO_RESOURCE = "the-helm-test-asks-for-a-resource-that-nobody-can-create"
"""A label's value. No DatabaseMigration can have that name: theirs end at 50 characters."""
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CALL_SECONDS = 10.0
PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server made of a pod."""

    status: int
    """The HTTP status; 0 where there was no answer."""
    body: dict[str, Any]
    """The pod as it would have been stored, or a Status object with a ``message``."""

    @property
    def gated(self) -> bool | None:
        """Whether the pod came back with the gate; None where no pod came back."""
        if self.status != http.HTTPStatus.CREATED:
            return None
        return any(gate.get("name") == GATE for gate in self.body.get("spec", {}).get("schedulingGates") or ())


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the gate is at work, in a sentence."""

    at_work: bool
    sentence: str


Ask = Callable[[dict[str, Any]], Answer]


def probe_pod(*, bypass: bool = False, gate: bool = False) -> dict[str, Any]:
    """Build a pod that names a resource nobody can create; the `restricted` Pod Security level accepts it."""
    container = {
        "name": "probe",
        "image": "lockgate.invalid/never-pulled",
        "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "lockgate-gate-probe-",
            "labels": {GATE: NO_RESOURCE},
            "annotations": {"lockgate.dev/bypass": "helm test"} if bypass else {},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [container],
            "schedulingGates": [{"name": GATE}] if gate else [],
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        },
    }


def judge(mode: Mode, ask: Ask) -> Verdict:
    """Ask about two pods and say what that means for the gate."""
    plain = ask(probe_pod())
    other = ask(probe_pod(gate=True) if mode == "static" else probe_pod(bypass=True))
    if plain.gated is None or other.gated is None:
        return _no_pod(plain if plain.gated is None else other)
    if mode == "static":
        return _judge_static(plain=plain.gated, written=other.gated)
    return _judge_policy(plain=plain.gated, bypassed=other.gated)


def _judge_policy(*, plain: bool, bypassed: bool) -> Verdict:
    if not plain:
        return Verdict(False, "A pod that no DatabaseMigration covers would start: no policy puts the gate on it.")
    if bypassed:
        return Verdict(False, "A pod with the annotation lockgate.dev/bypass would be held.")
    return Verdict(True, "The gate is at work: an uncovered pod is held, one with lockgate.dev/bypass is not.")


def _judge_static(*, plain: bool, written: bool) -> Verdict:
    if not written:
        return Verdict(False, "A gate that stands in a pod template is taken off before the operator has seen the pod.")
    if plain:
        return Verdict(True, "The gate is at work: a policy of another release puts it on pods in this namespace.")
    return Verdict(
        True,
        "A gate that stands in a pod template holds the pod. The label alone holds nothing in this mode: "
        "whether each of your templates has the gate, only status.gate.unguarded of your DatabaseMigrations can tell.",
    )


def _no_pod(answer: Answer) -> Verdict:
    said = answer.body.get("message", "")
    return Verdict(False, f"The API server did not accept the pod that asks: {answer.status or 'no answer'}: {said}")


def probe(
    mode: Mode, ask: Ask, *, seconds: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> Verdict:
    """Judge until the gate is at work, for at most that many seconds, and return the last verdict."""
    deadline = clock() + seconds
    while True:
        verdict = judge(mode, ask)
        if verdict.at_work or clock() >= deadline:
            return verdict
        sleep(PAUSE_SECONDS)


def dry_run(server: str, namespace: str, token: str, ca_file: Path) -> Ask:
    """Return a function that sends a pod as a server-side dry run, over a connection of its own each time."""
    address = urlsplit(server)
    trust = ssl.create_default_context(cafile=str(ca_file))
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"}

    def ask(pod: dict[str, Any]) -> Answer:
        call = http.client.HTTPSConnection(
            address.hostname or "", address.port or 443, timeout=CALL_SECONDS, context=trust
        )
        try:
            call.request("POST", path, json.dumps(pod), headers)
            response = call.getresponse()
            return Answer(response.status, json.loads(response.read()))
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(0, {"message": f"{type(error).__name__}: {error}"})
        finally:
            call.close()

    return ask


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; in a pod, the account's own files are the default."""
    inside = f"https://{os.environ.get('KUBERNETES_SERVICE_HOST', '')}:{os.environ.get('KUBERNETES_SERVICE_PORT', '')}"
    parser = argparse.ArgumentParser(prog="python -m lockgate.gate_probe", description="Is the gate at work?")
    parser.add_argument("--mode", choices=("policy", "static"), required=True, help="who puts the gate on pods")
    parser.add_argument("--namespace", required=True, help="where to ask; the account must be allowed to create pods")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds to ask again (default %(default)g)")
    parser.add_argument("--server", default=inside, help="default: the cluster this pod runs in")
    parser.add_argument("--token-file", type=Path, default=ACCOUNT / "token")
    parser.add_argument("--ca-file", type=Path, default=ACCOUNT / "ca.crt")
    given = parser.parse_args(arguments)
    ask = dry_run(given.server, given.namespace, given.token_file.read_text().strip(), given.ca_file)
    verdict = probe(given.mode, ask, seconds=given.timeout, clock=time.monotonic, sleep=time.sleep)
    sys.stdout.write(verdict.sentence + "\n")
    return 0 if verdict.at_work else 1


if __name__ == "__main__":
    sys.exit(main())
