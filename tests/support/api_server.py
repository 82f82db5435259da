"""An API server with its etcd and nothing else: what it refuses is what a whole cluster refuses, after some seconds."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = Path(
    os.environ.get("LOCKGATE_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lockgate"
)
TOKEN = "of-a-throw-away-server"


def missing_tools() -> str:
    """Name what this machine lacks, or return nothing."""
    lacking = [name for name, found in (("kube-apiserver", _apiserver()), ("etcd", shutil.which("etcd"))) if not found]
    return " and ".join(lacking)


@dataclass(frozen=True)
class ApiServer:
    """A running server, and how to reach it."""

    url: str
    kubeconfig: Path

    @classmethod
    @contextlib.contextmanager
    def start(cls, folder: Path) -> Iterator[ApiServer]:
        """Start both processes in this folder, and stop them at the end."""
        etcd_port, peer_port, port = _free_ports(3)
        etcd, peer = f"http://127.0.0.1:{etcd_port}", f"http://127.0.0.1:{peer_port}"
        key, tokens = folder / "accounts.key", folder / "tokens.csv"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        tokens.write_text(f"{TOKEN},admin,admin,system:masters\n")
        commands = (
            f"etcd --data-dir {folder}/etcd --unsafe-no-fsync --listen-client-urls {etcd}"
            f" --advertise-client-urls {etcd}"
            f" --listen-peer-urls {peer} --initial-advertise-peer-urls {peer} --initial-cluster default={peer}",
            f"{_apiserver()} --etcd-servers {etcd} --secure-port {port} --bind-address 127.0.0.1"
            f" --cert-dir {folder}/certificates --token-auth-file {tokens} --authorization-mode RBAC"
            f" --service-account-key-file {key} --service-account-signing-key-file {key}"
            " --service-account-issuer https://kubernetes.default.svc --disable-admission-plugins ServiceAccount"
            " --service-cluster-ip-range 10.0.0.0/24",
        )
        with contextlib.ExitStack() as stack:
            for command in map(str.split, commands):
                log = stack.enter_context((folder / f"{Path(command[0]).name}.log").open("wb"))
                process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
                stack.callback(process.wait)
                stack.callback(process.kill)
            server = cls(f"https://127.0.0.1:{port}", folder / "kubeconfig")
            server.kubeconfig.write_text(json.dumps(_kubeconfig(server.url)))
            server._wait(folder)
            yield server

    def install_crd(self) -> None:
        """Install the chart's CustomResourceDefinition, and wait until it is served."""
        crd = yaml.safe_load((CHECKOUT / "charts/lockgate/crds/databasemigrations.lockgate.dev.yaml").read_text())
        self.send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        _until(lambda: self.send("GET", "/apis/lockgate.dev/v1alpha1/databasemigrations")[0] == 200)

    def send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send one request; return the status and the answer."""
        request = urllib.request.Request(  # noqa: S310  # always https
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        unverified = ssl._create_unverified_context()  # noqa: S323  # a certificate that the server has just made
        try:
            with urllib.request.urlopen(request, context=unverified, timeout=20) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def _wait(self, folder: Path) -> None:
        try:
            _until(lambda: self.send("GET", "/api/v1/namespaces/default")[0] == 200)
        except TimeoutError as error:
            error.add_note("\n".join(path.read_text()[-3000:] for path in folder.glob("*.log")))
            raise


def _apiserver() -> Path | None:
    """Return the newest one that is compiled."""
    found = CACHE.glob("tools/kubernetes-*/kube-apiserver")
    return max(found, key=lambda path: [int(part) for part in re.findall(r"\d+", path.parent.name)[:3]], default=None)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _until(holds: Any, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("the API server does not get ready")
        time.sleep(0.1)


def _kubeconfig(url: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "it", "user": {"token": TOKEN}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }
