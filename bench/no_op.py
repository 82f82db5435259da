"""A run that finds nothing to do, against `alembic upgrade head` that finds nothing to do."""

from __future__ import annotations

import shutil
import tempfile
import zipapp
from dataclasses import replace
from pathlib import Path

from histories import History
from measuring import ROOT, Command, Figure, Ran, in_turn, median_ratio, run

ROUNDS = 7


def no_op(history: History, label: str = "") -> Figure:
    """Measure a history that is applied already, and recorded by a run of ours."""
    url = history.database()
    run(history.lockgate(url))
    return _ratio(history, history.lockgate(url), url, f"no-op run, {history.name}{label}")


def no_op_of_zipapp(history: History) -> Figure:
    """Measure what runs in other people's images: one file, whose bytecode Python cannot keep."""
    with tempfile.TemporaryDirectory() as folder:
        archive = _archive(Path(folder))
        url = history.database()
        command = history.lockgate(url)
        words = (command.words[0], str(archive), *command.words[4:])
        environ = {**command.environ, "PYTHONPATH": ""}
        zipped = replace(command, words=words, environ=environ)
        run(zipped)
        return _ratio(history, zipped, url, f"no-op run as a zipapp, {history.name}")


def _ratio(history: History, ours: Command, url: str, name: str) -> Figure:
    def plain() -> Ran:
        return run(history.plain(url))

    rounds = in_turn(ROUNDS, lambda: run(ours), plain)
    ratio = median_ratio((first.seconds, second.seconds) for first, second in rounds)
    return Figure(name, ratio, 0.15, "x plain Alembic's time")


def _archive(folder: Path) -> Path:
    """Build the archive as the operator's image does."""
    source = ROOT / "operator" / "lockgate"
    for name in ("__init__.py", "errors.py", "report.py", "runner"):
        target = folder / "app" / "lockgate" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name == "runner":
            shutil.copytree(source / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source / name, target)
    zipapp.create_archive(folder / "app", folder / "lockgate.pyz", main="lockgate.runner.command_line:main")
    return folder / "lockgate.pyz"
