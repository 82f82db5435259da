"""The figures of the runner: prints a table, writes build/bench.json.

Run it by ``make bench``; arguments choose figures (``make bench ARGS=stall``). Every figure is a
ratio within one run on one machine, the two sides in turn, so that a busy machine shows in both.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from dead_holder import dead_holder
from full_upgrade import client_cpu, full_upgrade, long_history
from histories import many, mlflow, own, prefect
from measuring import PROJECTS, ROOT, Figure, Server, load
from no_op import no_op, no_op_of_zipapp
from runners_at_once import runners_at_once
from stall import stall

Work = Callable[[Server], Sequence[Figure]]

FIGURES: dict[str, Work] = {
    "no-op mlflow": lambda server: [no_op(mlflow(server))],
    "no-op zipapp mlflow": lambda server: [
        no_op_of_zipapp(mlflow(server)),
        no_op_of_zipapp(mlflow(server), ", another Python", byte_code=False),
    ],
    "no-op prefect": lambda server: [no_op(prefect(server))],
    "full mlflow": lambda server: [full_upgrade(mlflow(server))],
    "full prefect": lambda server: [full_upgrade(prefect(server))],
    "cpu": lambda server: [_cpu(server)],
    "long revisions": lambda server: [_long(server, "5,000 revisions", 5000, body="op.execute('SELECT 1')")],
    "long begin": lambda server: [_long(server, "1,000 revisions in engine.begin()", 1000, style="engine_begin")],
    "long statements": lambda server: [_long(server, "30,000 statements", 1, body=STATEMENTS)],
    "runners prefect": lambda server: runners_at_once(server, prefect(server)),
    "runners orders": lambda server: runners_at_once(server, own(server, PROJECTS / "orders")),
    "stall": stall,
    "dead": lambda server: [dead_holder(server)],
}


STATEMENTS = "op.execute('CREATE TABLE t (n int)')\n    " + (
    "[op.execute(f'INSERT INTO t VALUES ({number})') for number in range(30000)]"
)


def _long(server: Server, name: str, count: int, **kind: str) -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        return long_history(many(server, Path(folder) / "many", count, **kind), name)


def _cpu(server: Server, count: int = 300) -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        return client_cpu(many(server, Path(folder) / "many", count), count)


def main(chosen: Sequence[str]) -> int:
    """Print the figures and write them; the exit code says whether every goal is met."""
    figures: list[Figure] = []
    with load("postgres_server").postgres_server() as running:
        server = Server(running)
        for name, work in FIGURES.items():
            if not chosen or any(word in name for word in chosen):
                for figure in work(server):
                    figures.append(figure)
                    sys.stdout.write(line(figure))
                    sys.stdout.flush()
    target = ROOT / "build" / "bench.json"
    target.parent.mkdir(exist_ok=True)
    found = [{**asdict(figure), "ratio": round(figure.ratio, 3)} for figure in figures]
    target.write_text(json.dumps(found, indent=2) + "\n")
    return int(any(figure.goal is not None and figure.ratio > figure.goal for figure in figures))


def line(figure: Figure) -> str:
    """Return a row of the table."""
    goal = "" if figure.goal is None else f"goal <= {figure.goal:g}{'' if figure.ratio <= figure.goal else '  MISSED'}"
    return f"{figure.name:<48} {figure.ratio:>8.3f} {figure.unit:<26} {goal}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
