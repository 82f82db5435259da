"""Virtual environments with packages that are not ours, cached outside the checkout; for tests/database and bench."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path


def cached_environment(*packages: str) -> Path:
    """Make a virtual environment with exactly these packages where there is none yet; return its Python."""
    cache = os.environ.get("LOCKGATE_CACHE") or str(
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lockgate"
    )
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256("\n".join([version, *sorted(packages)]).encode()).hexdigest()[:12]
    folder = Path(cache) / "venvs" / f"{packages[0].partition('=')[0]}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once share the cache
        if not (folder / "complete").exists():
            venv.create(folder, clear=True, with_pip=True)
            subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *packages], check=True)
            (folder / "complete").touch()
    return folder / "bin" / "python"
