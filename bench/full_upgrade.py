"""A whole history, applied by a run, against plain Alembic."""

from __future__ import annotations

from histories import History
from measuring import Figure, Ran, in_turn, median_ratio, run


def full_upgrade(history: History, rounds: int = 3) -> Figure:
    """Measure the time of the whole process, each side on fresh databases."""

    def ours() -> Ran:
        return run(history.lockgate(history.database()))

    def plain() -> Ran:
        return run(history.plain(history.database()))

    in_turn(1, ours, plain)  # so that neither side pays for cold files
    ratio = median_ratio((first.seconds, second.seconds) for first, second in in_turn(rounds, ours, plain))
    return Figure(f"full upgrade, {history.name}", ratio, 1.05, "x plain Alembic's time")


def client_cpu(history: History, count: int, rounds: int = 3) -> Figure:
    """Measure user and system time of the process, without the server's."""

    def ours() -> Ran:
        return run(history.lockgate(history.database()))

    def plain() -> Ran:
        return run(history.plain(history.database()))

    in_turn(1, ours, plain)
    ratio = median_ratio((first.cpu, second.cpu) for first, second in in_turn(rounds, ours, plain))
    return Figure(f"client CPU, {count} trivial revisions", ratio, 1.3, "x plain Alembic's CPU")
