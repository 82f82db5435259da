"""The shop as its platforms check it out, and a Python where it has been installed as its examples say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
SHOP = CHECKOUT / "examples/shop"


def write_release(folder: Path, version: int) -> None:
    """Make ``folder`` what the shop's repository holds at a release: its files, and the revisions until then."""
    shutil.copytree(SHOP, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("releases", "__pycache__"))
    shutil.rmtree(folder / "alembic/versions", ignore_errors=True)
    (folder / "alembic/versions").mkdir()
    for release in range(1, version + 1):
        for revision in (SHOP / f"releases/v{release}").glob("*.py"):
            shutil.copy(revision, folder / "alembic/versions")


@pytest.fixture(scope="session")
def release() -> Callable[[Path, int], None]:
    return write_release


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of this checkout: what `pip install lockgate` is to find."""
    folder = tmp_path_factory.mktemp("wheels")
    build = ("pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(CHECKOUT))
    subprocess.run([sys.executable, "-m", *build], check=True)
    return folder


@pytest.fixture(scope="session")
def machine(environment: Callable[..., Path], wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of a machine with a Python and pip, where `pip install` finds this checkout's Lockgate.

    What the shop's requirements name is there already, as in a cache: pip finds it satisfied, in the very versions.
    """
    pins = re.findall(r"^([\w.-]+==[\w.]+)", (SHOP / "requirements.txt").read_text(), re.MULTILINE)
    cached = environment(*pins).parent.parent
    folder = tmp_path_factory.mktemp("machine")
    venv.create(folder, with_pip=True)
    libraries = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    (folder / libraries / "cached.pth").write_text(f"{cached / libraries}\n")
    return {
        "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "LOCKGATE_ARGS": '{"seconds": "0"}',  # what the slow revision of version 2 pretends to need
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
