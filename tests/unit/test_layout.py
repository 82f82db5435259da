"""The layout that everything else relies on."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import runner_archive

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


def test_the_runner_s_archive_brings_all_that_the_runner_imports() -> None:
    """A module that both sides share is in no image but the operator's, unless the archive has it."""
    package = ROOT / "operator" / "lockgate"
    brought = {name.removesuffix(".py") for name in runner_archive.PARTS}
    files = [package / name for name in runner_archive.PARTS if name.endswith(".py")]
    wanted = {
        found.split(".")[1]
        for file in (*files, *(package / "runner").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        for found in _imported(node)
        if found.startswith("lockgate.") and not found.startswith("lockgate.__")
    }

    assert wanted <= brought


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom) and node.module:
        return [f"lockgate.{alias.name}" for alias in node.names] if node.module == "lockgate" else [node.module]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
