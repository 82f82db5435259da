"""The demo is a document: what it shows must happen."""

from __future__ import annotations

import os
import subprocess

from cluster_access import CHECKOUT
from installed_operator import Operator


def test_the_demo_shows_what_it_promises_and_leaves_nothing(operator: Operator) -> None:
    settings = os.environ | operator.access.settings
    done = subprocess.run(
        [CHECKOUT / "demo/run.sh"], env=settings, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    for shown in ("SchedulingGated", "Running", "Ready", "0004", "one_account_per_address", "helm rollback"):
        assert shown in done.stdout

    subprocess.run([CHECKOUT / "demo/down.sh"], env=settings | {"KEEP": "release"}, timeout=120, check=True)
    assert "lockgate-demo" not in operator.access.kubectl("get", "namespaces", "-o", "name").stdout
