"""`cluster/images.sh load`: the operator's image has a new name whenever its content is new, so it is rolled out."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from cluster_access import CHECKOUT, Access
from installed_operator import Operator

NAME = "localhost/loaded-by-a-test:dev"


def load(access: Access, context: Path) -> str:
    """Build and load the image as this project's own, and return the reference to use in a manifest."""
    script, settings = access.settings["LOCKGATE_IMAGES"], os.environ | access.settings | {"LOCKGATE_IMAGE": NAME}
    subprocess.run([script, "build", NAME, context], check=True, env=settings)
    return subprocess.run([script, "load", NAME], check=True, env=settings, stdout=subprocess.PIPE, text=True).stdout


def test_the_same_content_keeps_its_name_and_other_content_gets_another_one(access: Access, tmp_path: Path) -> None:
    context = tmp_path / "context"
    shutil.copytree(CHECKOUT / "tests/images/without-python", context)
    first = load(access, context)
    assert load(access, context) == first

    with (context / "Dockerfile").open("a") as file:
        file.write("LABEL content=other\n")
    second = load(access, context)

    assert second != first
    assert all(reference.strip().rpartition("-")[0].endswith("loaded-by-a-test:dev") for reference in (first, second))


def test_the_operators_that_run_are_those_that_were_built(operator: Operator) -> None:
    built = operator.access.image(operator.access.settings["LOCKGATE_IMAGE"])
    images = "jsonpath={.spec.template.spec.containers[*].image}"

    assert operator.kubectl("get", "deployment/lockgate", "-o", images).stdout == built
    name = operator.access.settings["LOCKGATE_IMAGE"].removeprefix("localhost/")
    assert f"{name}-" in built
