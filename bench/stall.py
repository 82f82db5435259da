"""How long others have to wait behind an ALTER that itself waits for a long transaction."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from histories import own
from measuring import ALEMBIC, PROJECTS, Command, Figure, Server, run

READERS = 10
HOLD_SECONDS = 10.0


@contextmanager
def traffic(url: str) -> Iterator[list[float]]:
    """Read the table in ten sessions and write it in one, and note how long each statement took."""
    took: list[float] = []
    stop = threading.Event()

    def client(statement: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not stop.wait(0.01):
                start = time.perf_counter()
                connection.execute(statement)
                took.append(time.perf_counter() - start)

    statements = ["SELECT count(*) FROM busy"] * READERS + ["UPDATE busy SET name = 'y' WHERE id = 1"]
    threads = [threading.Thread(target=client, args=(statement,), daemon=True) for statement in statements]
    for thread in threads:
        thread.start()
    try:
        yield took
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=30)


def worst(upgrade: Command, url: str) -> tuple[float, float]:
    """Alter a table that another transaction holds; return the longest statement of the others, and the whole time."""
    run(Command((upgrade.words[0], *ALEMBIC, "upgrade", "a1"), upgrade.folder, upgrade.environ))
    with psycopg.connect(Server.plain(url)) as holder, traffic(Server.plain(url)) as took:
        holder.execute("SELECT count(*) FROM busy")
        start = time.perf_counter()
        process = upgrade.start()
        time.sleep(HOLD_SECONDS)  # this is the experiment: a transaction of this length
        holder.rollback()
        assert process.wait(timeout=120) == 0, upgrade
        return max(took), time.perf_counter() - start


def stall(server: Server) -> list[Figure]:
    """Measure with the default settings."""
    history = own(server, PROJECTS / "alters")
    url = history.database()
    plain, plain_whole = worst(history.plain(url), url)
    url = history.database()
    ours, ours_whole = worst(history.lockgate(url), url)
    return [
        Figure("worst stall behind an ALTER that waits 10 s", ours / plain, 0.05, "x plain Alembic's stall"),
        Figure("time of that migration", ours_whole / plain_whole, 2.0, "x plain Alembic's time"),
    ]
