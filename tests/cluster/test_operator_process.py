"""The operator as a process of its own, outside of the cluster: Lease, signals, probes, exit codes.

Each looks after one empty namespace only, so it has nothing to do with the operator that is installed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@dataclass
class Process:
    name: str
    port: int
    process: subprocess.Popen[str]
    log: Path

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def leads(self) -> bool:
        return "lockgate_leader 1.0" in self.get("/metrics")[1]

    def ends_with(self, code: int) -> bool:
        return self.process.wait(timeout=40) == code


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.1)


@pytest.fixture
def start(kubeconfig: Path, namespace: str, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(name: str, *flags: str, kubeconfig: Path = kubeconfig) -> Process:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = tmp_path / f"{name}.log"
        command = [str(Path(sys.executable).with_name("lockgate-operator")), "--image", "registry.invalid/lockgate:1"]
        command += ["--kubeconfig", str(kubeconfig), "--listen", f"127.0.0.1:{port}", "--namespaces", namespace]
        command += ["--pod-namespace", namespace, "--pod-name", name, *flags]
        with log.open("w") as err:
            process = subprocess.Popen(command, stderr=err, text=True, env=os.environ | {"PYTHONSAFEPATH": "1"})
        started.append(Process(name, port, process, log))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        print(f"--- {one.name}\n{one.log.read_text()}")


def holder(kubectl: Kubectl, namespace: str) -> str:
    lease = kubectl("get", "lease", "lockgate-operator", "--namespace", namespace, "--output", "json", check=False)
    return json.loads(lease.stdout)["spec"].get("holderIdentity", "") if lease.returncode == 0 else ""


def test_of_two_operators_one_works_and_the_other_takes_over_when_it_is_killed(
    start: Callable[..., Process], kubectl: Kubectl, namespace: str
) -> None:
    first = start("first")
    until(first.leads)
    second = start("second")
    until(lambda: second.get("/readyz")[0] == 200)
    assert first.leads()
    assert not second.leads(), "a standby is ready, but does nothing"
    first.process.send_signal(signal.SIGKILL)
    until(second.leads, 40)
    assert holder(kubectl, namespace).startswith("second_")


def test_an_operator_that_is_asked_to_end_hands_over_at_once(
    start: Callable[..., Process], kubectl: Kubectl, namespace: str
) -> None:
    first = start("first")
    until(first.leads)
    second = start("second")
    until(lambda: second.get("/readyz")[0] == 200)
    asked = time.monotonic()
    first.process.send_signal(signal.SIGTERM)
    assert first.ends_with(0)
    until(second.leads, 10)
    assert time.monotonic() - asked < 12, "much less than the 15 s of an expired Lease"


def test_an_operator_that_loses_its_lease_ends_and_says_so(
    start: Callable[..., Process], kubectl: Kubectl, namespace: str
) -> None:
    operator = start("robbed")
    until(operator.leads)
    patch = '{"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 600}}'
    kubectl("patch", "lease", "lockgate-operator", "--namespace", namespace, "--type", "merge", "--patch", patch)
    assert operator.ends_with(3)
    assert "Lost the Lease: thief holds it now" in operator.log.read_text()
    assert holder(kubectl, namespace) == "thief", "what is not ours is not released"


def test_an_operator_without_rights_waits_and_says_which_it_lacks(
    start: Callable[..., Process], kubectl: Kubectl, kubeconfig: Path, namespace: str, tmp_path: Path
) -> None:
    token = kubectl("create", "token", "default", "--namespace", namespace).stdout.strip()
    weak = tmp_path / "weak.kubeconfig"
    config = yaml.safe_load(kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    weak.write_text(json.dumps(config))
    operator = start("weak", kubeconfig=weak)
    until(
        lambda: (
            operator.get("/readyz")[0] == 503 and "the verb list on databasemigrations" in operator.get("/readyz")[1]
        )
    )
    assert operator.get("/healthz") == (200, "ok\n"), "a restart would not help"
    assert token not in operator.log.read_text()
    operator.process.send_signal(signal.SIGTERM)
    assert operator.ends_with(0)


def test_an_operator_that_may_not_have_the_lease_is_not_ready(start: Callable[..., Process], namespace: str) -> None:
    operator = start("homeless", "--pod-namespace", f"{namespace}-does-not-exist")
    until(lambda: "Lease: Cannot create leases" in operator.get("/readyz")[1])
    operator.process.send_signal(signal.SIGTERM)
    assert operator.ends_with(0)


def test_a_port_that_is_taken_ends_it_with_a_sentence(start: Callable[..., Process]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        operator = start("portless", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        assert operator.ends_with(1)
    (line,) = operator.log.read_text().splitlines()
    assert "address already in use" in json.loads(line)["message"]
