"""Many runners started at once on one database, against one that has it for itself."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import psycopg
from histories import History
from measuring import Command, Figure, Server, run


def runners_at_once(server: Server, history: History, count: int = 30, rounds: int = 3) -> list[Figure]:
    """Measure until the last has ended; who failed, and whether each revision was applied once, are figures as well.

    As many processes that only import the driver and connect show what no runner can do without on the same machine.
    """
    ratios, bare, failed, repeated = [], [], 0, 0
    _alone(server, history)
    for _ in range(rounds):
        alone = _alone(server, history)
        url = history.database()
        seconds, codes = _all_at_once(history.lockgate, url, count)
        ratios.append(seconds / alone)
        failed += sum(code != 0 for code in codes)
        bare.append(_all_at_once(history.bare, url, count)[0] / alone)
        with psycopg.connect(server.plain(url)) as connection:
            row = connection.execute("SELECT count(*) - count(DISTINCT revision) FROM lockgate.history").fetchone()
        repeated += row[0] if row else 0
        server.drop(url)
    name = f"{count} runners at once, {history.name}"
    return [
        Figure(name, statistics.median(ratios), 1.3, "x the time of one"),
        Figure(f"{name}: failed", float(failed), 0.0, "processes"),
        Figure(f"{name}: applied twice", float(repeated), 0.0, "revisions"),
        Figure(f"{count} that only connect, {history.name}", statistics.median(bare), None, "x the time of one"),
    ]


def _alone(server: Server, history: History) -> float:
    """Return the time of one runner that has a database for itself."""
    url = history.database()
    seconds = run(history.lockgate(url)).seconds
    server.drop(url)
    return seconds


def _all_at_once(command: Callable[[str], Command], url: str, count: int) -> tuple[float, list[int]]:
    """Return the time until the last has ended, and the exit codes."""
    start = time.perf_counter()
    processes = [command(url).start() for _ in range(count)]
    codes = [process.wait() for process in processes]
    return time.perf_counter() - start, codes
