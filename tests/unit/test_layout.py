"""The layout that everything else relies on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("folder", ["operator", "alembic"])
def test_a_top_level_folder_named_like_a_module_is_never_a_package(folder: str) -> None:
    """With an `__init__.py`, `python -m` from the root would import it in place of the module of that name."""
    assert (ROOT / folder).is_dir()

    assert not (ROOT / folder / "__init__.py").exists()


def test_python_starts_from_the_root_and_finds_the_real_modules() -> None:
    code = "import operator, alembic; assert operator.eq and alembic.__version__"

    completed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert completed.returncode == 0, completed.stderr
