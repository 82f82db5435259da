"""Many runners started at once on one database, against one that has it for itself."""

from __future__ import annotations

import statistics
import time

import psycopg
from histories import History
from measuring import Figure, Server, run


def runners_at_once(history: History, count: int = 30, rounds: int = 3) -> list[Figure]:
    """Measure until the last has ended; who failed, and whether each revision was applied once, are figures as well."""
    ratios, failed, repeated = [], 0, 0
    run(history.lockgate(history.database()))
    for _ in range(rounds):
        alone = run(history.lockgate(history.database())).seconds
        url = history.database()
        start = time.perf_counter()
        processes = [history.lockgate(url).start() for _ in range(count)]
        failed += sum(process.wait() != 0 for process in processes)
        ratios.append((time.perf_counter() - start) / alone)
        with psycopg.connect(Server.plain(url)) as connection:
            row = connection.execute("SELECT count(*) - count(DISTINCT revision) FROM lockgate.history").fetchone()
        repeated += row[0] if row else 0
    name = f"{count} runners at once, {history.name}"
    return [
        Figure(name, statistics.median(ratios), 1.3, "x the time of one"),
        Figure(f"{name}: failed", float(failed), 0.0, "processes"),
        Figure(f"{name}: applied twice", float(repeated), 0.0, "revisions"),
    ]
