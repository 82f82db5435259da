"""`make cluster` and `make cluster-down`: a real node starts, survives, and leaves nothing behind.

Runs on a node of its own (number 9), beside the one that the other tests share.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
NUMBER = "9"
LACKING = 3  # exit code of our scripts: this machine cannot offer it

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "waits", "namespace": "default"},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "waits", "image": "localhost/pause:1", "imagePullPolicy": "Never"}],
    },
}


class Node:
    """Node 9 and the files that `make cluster` writes for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        cache = (
            os.environ.get("LOCKGATE_CACHE") or f"{os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'}/lockgate"
        )
        self.state = Path(cache).resolve() / "node" / NUMBER
        dropped = ("KUBECONFIG", "LOCKGATE_KUBECONFIG")
        self.environment = {name: value for name, value in os.environ.items() if name not in dropped}
        self.environment |= {"LOCKGATE_NODE": NUMBER, "LOCKGATE_CLUSTER_DIR": str(folder)}

    def script(self, name: str, *arguments: str, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        """Run one of cluster/*.sh."""
        done = subprocess.run(
            [CHECKOUT / "cluster" / name, *arguments],
            env=self.environment | more,
            text=True,
            capture_output=True,
            timeout=900,
            check=False,
        )
        sys.stderr.write(done.stderr)
        assert not check or done.returncode == 0, done.stderr
        return done

    def up(self) -> str:
        """Start it and return what was said."""
        return self.script("cluster.sh", "up").stderr

    def down(self) -> str:
        """Stop it and return what was said."""
        return self.script("cluster.sh", "down").stderr

    def settings(self) -> dict[str, str]:
        """Return what the env file tells demo and tests."""
        return dict(line.split("=", 1) for line in (self.folder / "env").read_text().splitlines())

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run the project's kubectl with the kubeconfig that `up` wrote, and nothing else from around."""
        settings = self.settings()
        command = [settings["KUBECTL"], "--kubeconfig", settings["KUBECONFIG"], "--request-timeout=10s", *arguments]
        done = subprocess.run(command, input=stdin, text=True, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def first_process(self) -> int:
        """Return the pid, as the host counts, of the process that holds the node's namespaces."""
        return int((self.state / "node.pid").read_text().split()[0])


def eventually(question: Callable[[], bool], seconds: float = 60) -> None:
    """Ask until the answer is yes; a failed assertion counts as no."""
    limit = time.monotonic() + seconds
    while True:
        with suppress(AssertionError):
            if question():
                return
        assert time.monotonic() < limit, f"not within {seconds} s"
        time.sleep(0.2)


def parents() -> dict[int, int]:
    """Map every process of this machine to its parent."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                found[int(folder.name)] = int((folder / "stat").read_text().rpartition(") ")[2].split()[1])
    return found


def family(ancestor: int) -> set[int]:
    """Return a process and all its descendants: a pid namespace never hands an orphan out."""
    of = parents()
    members = {ancestor}
    while more := {pid for pid, parent in of.items() if parent in members} - members:
        members |= more
    return members


def start_times(pids: set[int]) -> set[tuple[int, str]]:
    """Tell these processes from later ones with the same pid."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            found.add((pid, Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19]))
    return found


def lines_of(*command: str) -> set[str]:
    """Return what a command prints, line by line; nothing where the command is missing."""
    if not shutil.which(command[0]):
        return set()
    return set(subprocess.run(command, text=True, capture_output=True, check=True).stdout.splitlines())


def cgroups() -> set[str]:
    """Return every cgroup but those of other kubelets' pods; another test shows that ours has none outside its own."""
    folders = {folder for folder, _, _ in os.walk("/sys/fs/cgroup")}
    return {folder for folder in folders if "/kubepods" not in folder or f"/lockgate-{NUMBER}-" in folder}


def of_another_node(line: str) -> bool:
    """Tell what belongs to a cluster with another number, which may come and go meanwhile."""
    return any(number != NUMBER for number in re.findall(r"\blockgate-?(\d+)\b", line))


# What a node could leave on the machine, by name: how to list it. Packet counters are no difference.
TRACES: dict[str, Callable[[], set[str]]] = {
    "interfaces": lambda: {line.split(":")[1].strip() for line in lines_of("ip", "-o", "link")},
    "routes": lambda: lines_of("ip", "route", "show", "table", "all"),
    "rules": lambda: {line for line in lines_of("iptables-save") if not line.startswith(("#", ":"))},
    "policy rules": lambda: lines_of("ip", "rule"),
    "mounts": lambda: {
        line for line in Path("/proc/mounts").read_text().splitlines() if "/containers/storage/" not in line
    },
    "network namespaces": lambda: lines_of("ip", "netns"),
    "cgroups": cgroups,
    "folders": lambda: {
        f"{parent}/{name}"
        for parent in ("/var/lib", "/var/log", "/run", "/etc", "/opt", "/usr/libexec")
        if Path(parent).is_dir()
        for name in os.listdir(parent)
    },
}


@pytest.fixture(scope="module")
def machine() -> None:
    """Skip where `make cluster` would not start a node of our own."""
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "info"], capture_output=True, timeout=30, check=False).returncode == 0:
        pytest.skip("a Docker engine answers: `make cluster` uses kind here, and its own node nowhere")
    if sys.platform != "linux" or os.geteuid() != 0:
        missing = "a node of our own needs Linux and root: run `sudo make test`"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)


@pytest.fixture(scope="module")
def before(machine: None) -> dict[str, set[str]]:
    """Return what the machine looked like before there was a node 9."""
    return {name: look() for name, look in TRACES.items()}


@pytest.fixture(scope="module")
def node(before: dict[str, set[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Offer node 9, not yet started; whatever a test leaves of it is ended."""
    node = Node(tmp_path_factory.mktemp("cluster"))
    node.script("node.sh", "down")
    yield node
    node.script("node.sh", "down")


@pytest.fixture
def running(node: Node) -> Node:
    """Return node 9 with one pod on it."""
    node.up()
    node.kubectl("apply", "-f", "-", stdin=json.dumps(POD))
    node.kubectl("wait", "--for=condition=Ready", "pod/waits", "--timeout=50s")
    return node


def test_the_cluster_is_the_version_asked_for_and_runs_pods(running: Node) -> None:
    settings = running.settings()
    server = json.loads(running.kubectl("version", "-o", "json"))["serverVersion"]
    assert server["gitVersion"] == f"v{settings['LOCKGATE_KUBERNETES']}"
    assert settings["LOCKGATE_CLUSTER"] == "node"
    assert (running.folder / "kubeconfig").stat().st_mode & 0o077 == 0


def test_starting_twice_is_harmless(running: Node) -> None:
    first = running.first_process()
    pod = running.kubectl(
        "get", "pod", "waits", "-o", "jsonpath={.metadata.uid} {.status.containerStatuses[0].restartCount}"
    )
    assert "already up" in running.up()
    assert running.first_process() == first
    again = running.kubectl(
        "get", "pod", "waits", "-o", "jsonpath={.metadata.uid} {.status.containerStatuses[0].restartCount}"
    )
    assert again == pod


def test_everything_in_the_node_runs_below_its_own_cgroup(running: Node) -> None:
    outside = {
        line
        for pid in family(running.first_process())
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        if f"/lockgate-{NUMBER}-" not in line
    }
    assert outside == set()


def test_a_component_that_dies_comes_back(running: Node) -> None:
    pid = (running.state / "pids" / "scheduler").read_text()
    running.script("node.sh", "signal", "scheduler", "KILL")
    eventually(lambda: (running.state / "pids" / "scheduler").read_text() != pid)
    assert "scheduler ended with exit code 137" in (running.state / "ended").read_text()


def test_after_a_crash_the_cluster_finds_its_pods_again(running: Node) -> None:
    uid = running.kubectl("get", "pod", "waits", "-o", "jsonpath={.metadata.uid}")
    first = running.first_process()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{first}").exists())
    assert "is up after" in running.up()
    assert running.kubectl("get", "pod", "waits", "-o", "jsonpath={.metadata.uid}") == uid
    eventually(
        lambda: (
            "True"
            in running.kubectl("get", "pod", "waits", "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}")
        )
    )


def test_a_start_that_was_interrupted_is_started_over(node: Node) -> None:
    node.down()
    with subprocess.Popen(
        [CHECKOUT / "cluster" / "cluster.sh", "up"], env=node.environment, start_new_session=True
    ) as starting:
        eventually((node.state / "node.pid").exists)
        os.killpg(starting.pid, signal.SIGKILL)
    said = node.up()
    assert "did not finish: starting over" in said
    assert "is up after" in said


def test_a_component_that_cannot_start_is_named_with_the_end_of_its_log(node: Node) -> None:
    node.down()
    certificate = node.state / "pki" / "apiserver.crt"
    intact = certificate.read_bytes()
    certificate.write_text("not a certificate")
    try:
        done = node.script("cluster.sh", "up", check=False)
    finally:
        certificate.write_bytes(intact)
    assert done.returncode == 1
    assert "apiserver does not stay up" in done.stderr
    assert "failed to find any PEM data" in done.stderr
    assert not (node.state / "node.pid").exists()


def test_another_checkout_may_use_the_node_but_does_not_stop_it(running: Node, tmp_path: Path) -> None:
    other = {"LOCKGATE_CLUSTER_DIR": str(tmp_path)}
    assert "already up" in running.script("cluster.sh", "up", **other).stderr
    assert "is left up" in running.script("cluster.sh", "down", **other).stderr
    assert not (tmp_path / "kubeconfig").exists()
    assert running.kubectl("get", "--raw", "/readyz") == "ok"


def test_a_cluster_that_the_user_names_is_used_and_left_as_it_is(running: Node, tmp_path: Path) -> None:
    named = tmp_path / "named"
    named.write_bytes((running.folder / "kubeconfig").read_bytes())
    given = {"LOCKGATE_KUBECONFIG": str(named), "LOCKGATE_CLUSTER_DIR": str(tmp_path / "given")}
    running.script("cluster.sh", "up", **given)
    settings = dict(line.split("=", 1) for line in (tmp_path / "given" / "env").read_text().splitlines())
    assert (settings["LOCKGATE_CLUSTER"], settings["KUBECONFIG"]) == ("given", str(named))
    running.script("cluster.sh", "down", **given)
    assert named.read_bytes() == (running.folder / "kubeconfig").read_bytes()
    assert running.kubectl("get", "--raw", "/readyz") == "ok"


def test_a_named_cluster_that_does_not_answer_is_an_error_that_says_so(node: Node, tmp_path: Path) -> None:
    named = tmp_path / "named"
    named.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c}}],"
        " clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]}"
    )
    done = node.script("cluster.sh", "up", check=False, LOCKGATE_KUBECONFIG=str(named))
    assert done.returncode == 1
    assert f"the cluster of LOCKGATE_KUBECONFIG={named} does not answer" in done.stderr


def test_a_machine_without_any_way_is_told_what_was_tried_and_what_helps(node: Node, tmp_path: Path) -> None:
    for name, does in (("docker", "exit 1"), ("uname", "echo Plan9")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    done = node.script(
        "cluster.sh",
        "up",
        check=False,
        PATH=f"{tmp_path}:{os.environ['PATH']}",
        LOCKGATE_CLUSTER_DIR=str(tmp_path / "none"),
    )
    assert done.returncode == LACKING
    for part in ("LOCKGATE_KUBECONFIG (not set)", "no engine answers", "here: Plan9", "Install Docker, or run as root"):
        assert part in done.stderr


@pytest.fixture(scope="module")
def left_behind(before: dict[str, set[str]], node: Node) -> dict[str, set[str]]:
    """Return what a whole life of the node, with a pod on it, has left on the machine."""
    node.up()
    node.kubectl("apply", "-f", "-", stdin=json.dumps(POD))
    node.kubectl("wait", "--for=condition=Ready", "pod/waits", "--timeout=50s")
    first = node.first_process()
    members = start_times(family(first) | {parents()[first]})
    node.down()
    assert not (node.folder / "kubeconfig").exists()
    left = {
        name: {line for line in look() - before[name] if not of_another_node(line)} for name, look in TRACES.items()
    }
    pids = {pid for pid, _ in members}
    with suppress(AssertionError):  # a machine's init may take a moment to collect what has ended
        eventually(lambda: not members & start_times(pids), seconds=20)
    left["processes"] = {str(pid) for pid, _ in members & start_times(pids)}
    assert len(members) > 10, "the processes of the node were not found"
    return left


@pytest.mark.parametrize("kind", [*TRACES, "processes"])
def test_down_leaves_nothing_behind(left_behind: dict[str, set[str]], kind: str) -> None:
    assert left_behind[kind] == set()


def test_stopping_twice_is_harmless(node: Node) -> None:
    node.down()
    assert "was not running" in node.down()
