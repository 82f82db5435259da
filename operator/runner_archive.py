"""Builds the runner as one file that Python runs: the package without what only the operator needs.

    python3 operator/runner_archive.py lockgate.pyz

Beside each source it holds the byte code of the Python that builds it. Python keeps none of what it imports from a zip,
and compiling takes longer than most of what a run does at its start; another version of Python leaves the byte code
aside and compiles the source. The same source, built by the same Python, gives the same file.
"""

from __future__ import annotations

import compileall
import os
import shutil
import sys
import tempfile
import zipapp
from pathlib import Path
from py_compile import PycInvalidationMode

PACKAGE = Path(__file__).parent / "lockgate"
PARTS = ("__init__.py", "errors.py", "masking.py", "report.py", "runner")
MAIN = "from lockgate.runner.command_line import main\n\nmain()\n"
FIRST_TIME = 315_532_800
"""1980, in seconds since 1970: the earliest that a zip file can tell."""


def build(target: Path, *, byte_code: bool = True) -> None:
    """Write the archive; without ``byte_code`` it is what another version of Python makes of it."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "lockgate").mkdir()
        for part in PARTS:
            _copy(PACKAGE / part, root / "lockgate" / part)
        (root / "__main__.py").write_text(MAIN)  # that of zipapp has the time at which it was made
        if byte_code:
            compileall.compile_dir(
                root / "lockgate",
                quiet=1,
                legacy=True,  # beside the source, where the importer of zip files looks for it
                invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
                stripdir=name,
                prependdir="lockgate.pyz",
            )
        for path in (root, *root.rglob("*")):
            os.utime(path, (FIRST_TIME, FIRST_TIME))
        zipapp.create_archive(root, target, interpreter="/usr/bin/env python3")
    target.chmod(0o755)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
