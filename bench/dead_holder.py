"""How soon the lock is free when the process that holds it is killed in the middle of a statement."""

from __future__ import annotations

import time

import psycopg
from histories import own
from measuring import PROJECTS, Figure, Server

BOUND_SECONDS = 2.0


def dead_holder(server: Server, rounds: int = 5) -> Figure:
    """Measure the worst of some rounds against two seconds."""
    return Figure(
        "lock free after its holder's SIGKILL", max(_once(server) for _ in range(rounds)) / BOUND_SECONDS, 1.0, "x 2 s"
    )


def _once(server: Server) -> float:
    history = own(server, PROJECTS / "slow", SLOW_SECONDS="60")
    url = history.database()
    process = history.lockgate(url).start()
    with psycopg.connect(Server.plain(url), autocommit=True) as connection:
        _until(connection, "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'")
        process.kill()
        start = time.perf_counter()
        _until(
            connection,
            "SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        process.wait()
        return time.perf_counter() - start


def _until(connection: psycopg.Connection, query: str) -> None:
    deadline = time.monotonic() + 60
    while not (row := connection.execute(query.encode()).fetchone()) or not row[0]:
        assert time.monotonic() < deadline, query
        time.sleep(0.01)
