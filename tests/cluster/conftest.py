"""A real cluster with the chart installed, a restricted namespace per test, and a database for each that asks.

The tests work as a user would: kubectl, helm, and looks into the database.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from api_server import ApiServer, missing_tools
from cluster_access import CHECKOUT, Access, Namespace, eventually
from database_server import Database, Server
from installed_operator import Operator
from shop import Shop

LACKING = 3
"""Exit code of cluster/*.sh where the machine lacks something, which they have then named."""


@pytest.fixture(scope="session")
def access(request: pytest.FixtureRequest) -> Access:
    """Return the cluster that `make cluster` gives; start it if it is not up."""
    script = CHECKOUT / "cluster/cluster.sh"
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():  # compiling Kubernetes takes minutes: let it be seen
        done = subprocess.run([script, "up"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode == LACKING and not os.environ.get("CI"):
        pytest.skip(f"no cluster: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    folder = Path(os.environ.get("LOCKGATE_CLUSTER_DIR", CHECKOUT / "build/cluster"))
    return Access.read(folder / "env")


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Start an API server without a cluster around it, with the chart's CustomResourceDefinition."""
    lacking = missing_tools()
    if lacking and not os.environ.get("CI"):
        pytest.skip(f"no {lacking}: `make cluster` compiles or installs it")
    assert not lacking, f"no {lacking}"
    with ApiServer.start(tmp_path_factory.mktemp("api-server")) as server:
        server.install_crd()
        yield server


@pytest.fixture(scope="session")
def kubeconfig(access: Access) -> Path:
    return access.kubeconfig


@pytest.fixture(scope="session")
def operator(access: Access) -> Operator:
    """Install the chart once per run, and return a handle to the operator's Deployment."""
    handle = Operator(access)
    handle.install()
    return handle


@pytest.fixture(scope="module")
def operator_stopped(operator: Operator) -> Iterator[None]:
    """Scale the operator to zero for the tests of one module."""
    operator.stop()
    yield
    operator.start()


@pytest.fixture(scope="session")
def kubectl(operator: Operator) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run kubectl on a cluster where the chart is installed."""
    return operator.access.kubectl


@pytest.fixture
def as_operator(kubectl: Callable[..., subprocess.CompletedProcess[str]]) -> str:
    """Return the flag that makes a request one of the operator's account."""
    query = "{.items[0].metadata.namespace}:{.items[0].spec.template.spec.serviceAccountName}"
    selector = "app.kubernetes.io/name=lockgate,app.kubernetes.io/component=operator"
    account = kubectl("get", "deployments", "-A", "-l", selector, "-o", f"jsonpath={query}").stdout
    return f"--as=system:serviceaccount:{account}"


@pytest.fixture(scope="session")
def helm(access: Access) -> Callable[..., subprocess.CompletedProcess[str]]:
    return access.helm


@pytest.fixture(scope="session")
def evidence() -> list[str]:
    """Collect what could be read in the namespaces of this run: no password may be in it."""
    return []


def restricted(access: Access, name: str) -> Namespace:
    """Make a namespace that accepts nothing but restricted pods."""
    access.kubectl("create", "namespace", name)
    access.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    return Namespace(access, name)


@pytest.fixture
def namespace(operator: Operator, evidence: list[str], request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the name of a new namespace that enforces the restricted Pod Security level."""
    here = restricted(operator.access, f"test-{secrets.token_hex(4)}")
    yield here.name
    evidence.append(here.everything())
    # Held Jobs would keep their resources: nothing of this namespace is worth waiting for.
    here.kubectl("delete", "jobs", "--all", "--wait=false", check=False)
    operator.access.kubectl("delete", "namespace", here.name, "--wait=false")


@pytest.fixture
def here(operator: Operator, namespace: str) -> Namespace:
    """Return the test's own namespace."""
    return Namespace(operator.access, namespace)


@pytest.fixture(scope="session")
def postgres(operator: Operator) -> Iterator[Server]:
    """Start the one PostgreSQL server of this run."""
    place = restricted(operator.access, f"postgres-{secrets.token_hex(4)}")
    yield Server.start(operator.access, place)
    operator.access.kubectl("delete", "namespace", place.name, "--wait=false")


@pytest.fixture
def database(postgres: Server) -> Database:
    """Return an empty database with an account and a random password of its own."""
    return postgres.database()


@pytest.fixture
def shop(here: Namespace, database: Database) -> Shop:
    """Return the example application, not yet installed."""
    return Shop(here, database)


@pytest.fixture(name="eventually", scope="session")
def _eventually() -> Callable[..., object]:
    return eventually


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Put what a person would look at first into the report of a failed test."""
    report = yield
    arguments = getattr(item, "funcargs", {})
    if report.failed and "namespace" in arguments and "operator" in arguments:
        operator: Operator = arguments["operator"]
        report.sections.append(("namespace", Namespace(operator.access, arguments["namespace"]).summary()))
        report.sections.append(("operator", operator.logs()[-6000:]))
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the search for passwords come last: it reads what all other tests left."""
    items.sort(
        key=lambda item: "evidence" in getattr(item, "fixturenames", ()) and item.path.name == "test_credentials.py"
    )
