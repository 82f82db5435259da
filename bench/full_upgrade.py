"""A whole history, applied by a run, against plain Alembic."""

from __future__ import annotations

from histories import History
from measuring import Figure, Ran, in_turn, median_ratio, run


def full_upgrade(history: History, rounds: int = 3) -> Figure:
    """Measure the time of the whole process, each side on fresh databases."""
    return Figure(f"full upgrade, {history.name}", _time(history, rounds), 1.05, "x plain Alembic's time")


def long_history(history: History, name: str, rounds: int = 3) -> Figure:
    """Measure the time of the whole process on what must cost no more than in proportion to its length."""
    return Figure(name, _time(history, rounds), 1.3, "x plain Alembic's time")


def client_cpu(history: History, count: int, rounds: int = 3) -> Figure:
    """Measure user and system time of the process, without the server's."""
    ratio = median_ratio((ours.cpu, plain.cpu) for ours, plain in _both(history, rounds))
    return Figure(f"client CPU, {count} trivial revisions", ratio, 1.3, "x plain Alembic's CPU")


def _time(history: History, rounds: int) -> float:
    return median_ratio((ours.seconds, plain.seconds) for ours, plain in _both(history, rounds))


def _both(history: History, rounds: int) -> list[tuple[Ran, ...]]:
    """Run Lockgate and plain Alembic in turn, after a round that warms the files up for both."""

    def ours() -> Ran:
        return run(history.lockgate(history.database()))

    def plain() -> Ran:
        return run(history.plain(history.database()))

    in_turn(1, ours, plain)
    return in_turn(rounds, ours, plain)
