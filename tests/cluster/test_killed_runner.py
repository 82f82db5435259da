"""A runner that dies in the middle of a revision: somebody else finishes, and nothing is applied twice."""

from __future__ import annotations

import pytest
from shop import Shop

# The runner's process is the first of its container, and the kernel protects that one from its own kind; with a shared
# process namespace it is one among others.
SHARED = {"spec": {"shareProcessNamespace": True}}
KILL = """
import os, signal
for entry in filter(str.isdigit, os.listdir("/proc")):
    command = open(f"/proc/{entry}/cmdline").read()
    if "lockgate.pyz" in command and int(entry) != os.getpid() and "import os, signal" not in command:
        os.kill(int(entry), signal.SIGKILL)
"""


@pytest.mark.parametrize("standbys", [0, 1])
def test_a_revision_whose_runner_is_killed_is_applied_once_by_the_next_pod(shop: Shop, standbys: int) -> None:
    shop.secret()
    shop.migrate(2, seconds=15, template=SHARED, lock={"standbys": standbys})
    run = shop.working_on("0004", "UPDATE orders")["run"]
    holder = shop.database.psql(
        "SELECT application_name FROM pg_stat_activity WHERE query LIKE 'UPDATE orders%' AND state = 'active'"
    )
    pods = [pod["metadata"]["name"] for pod in shop.here.list("pods", f"lockgate.dev/run={run['id']}")]
    (working,) = [name for name in pods if name in holder or name[-5:] in holder]

    shop.here.kubectl("exec", working, "-c", "migrate", "--", "python3", "-c", KILL)
    shop.ready(timeout=240)

    ended = {pod["metadata"]["name"]: pod for pod in shop.here.list("pods", f"lockgate.dev/run={run['id']}")}
    (container,) = [c for c in ended[working]["status"]["containerStatuses"] if c["name"] == "migrate"]
    assert container["state"]["terminated"]["exitCode"] == 137
    assert shop.database.revisions() == ["0004"]
    applied = shop.database.psql("SELECT revision, count(*) FROM lockgate.history GROUP BY 1 ORDER BY 1")
    assert applied.split() == ["0001|1", "0002|1", "0003|1", "0004|1"]
    assert shop.database.psql("SELECT count(*) FROM orders WHERE currency = 'EUR'") == "2008"
