"""A run that finds nothing to do, against `alembic upgrade head` that finds nothing to do."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from histories import History
from measuring import Command, Figure, Ran, in_turn, median_ratio, run

import runner_archive

ROUNDS = 7


def no_op(history: History) -> Figure:
    """Measure a history that is applied already, and recorded by a run of ours."""
    url = history.database()
    run(history.lockgate(url))
    return _ratio(history, history.lockgate(url), url, f"no-op run, {history.name}")


def no_op_of_zipapp(history: History, label: str = "", *, byte_code: bool = True) -> Figure:
    """Measure what runs in other people's images: one file, with the byte code of one version of Python."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "lockgate.pyz"
        runner_archive.build(archive, byte_code=byte_code)
        url = history.database()
        command = history.lockgate(url)
        words = (command.words[0], str(archive), *command.words[4:])
        environ = {**command.environ, "PYTHONPATH": ""}
        zipped = replace(command, words=words, environ=environ)
        run(zipped)
        return _ratio(history, zipped, url, f"no-op run as a zipapp, {history.name}{label}")


def _ratio(history: History, ours: Command, url: str, name: str) -> Figure:
    def plain() -> Ran:
        return run(history.plain(url))

    rounds = in_turn(ROUNDS, lambda: run(ours), plain)
    ratio = median_ratio((first.seconds, second.seconds) for first, second in rounds)
    return Figure(name, ratio, 0.15, "x plain Alembic's time")
