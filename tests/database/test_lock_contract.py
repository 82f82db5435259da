"""What the two locks of every database have to keep: N processes at once, one winner at a time, nobody fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

CONTESTANT = """
    import os, signal, sys, time, random
    from lockgate.runner.database.connection import Database, parse_url
    from lockgate.runner.database.lock import acquire
    from lockgate.runner.database.session_settings import Settings

    url, kind, number = sys.argv[1:]
    database = Database(parse_url(url), Settings(resource="contest", pod=number))
    connection, work = database.connect("leader"), database.connect("leader")
    backend, told = database.backend, []
    if kind == "leader":
        lock = backend.leader(connection, "", "contest")
    else:
        ask = connection.rows
        lock = backend.fence(ask, backend.fence_key(backend.facts(ask, None, "contest"), "contest"))
    times = {"clock": time.monotonic, "sleep": time.sleep, "uniform": random.uniform}
    waited = acquire(lock, wait=120, waiting=lambda holder, waited: told.append(holder), **times)
    assert lock.holder() is not None
    assert all("lock held by" in str(holder) for holder in told if holder is not None), told
    if number == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    work.rows("UPDATE contest SET inside = inside + 1")
    inside = int(work.value("SELECT inside FROM contest"))
    time.sleep(0.05)
    work.rows(
        "UPDATE contest SET inside = inside - 1, won = won + 1,"
        f" most = CASE WHEN most < {inside} THEN {inside} ELSE most END"
    )
    lock.release()
    sys.exit(0 if inside == 1 else 1)
"""

CONTESTANTS = 6


@pytest.mark.parametrize("kind", ["leader", "fence"])
@pytest.mark.parametrize(
    ("fixture", "drivers"),
    [
        ("database", ("psycopg", "psycopg2", "asyncpg")),
        ("mariadb_database", ("pymysql",)),
        ("sqlite_file", ("pysqlite",)),
    ],
)
def test_of_many_processes_one_has_the_lock_at_a_time_and_one_that_dies_leaves_it_to_the_others(
    fixture, drivers, kind, request
):
    database = request.getfixturevalue(fixture)
    database.rows("CREATE TABLE contest AS SELECT 0 AS inside, 0 AS won, 0 AS most")
    code = textwrap.dedent(CONTESTANT)

    processes = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", code, database.url(drivers[number % len(drivers)]), kind, str(number)]
        )
        for number in range(CONTESTANTS)
    ]

    ended = [process.wait(timeout=120) for process in processes]
    assert ended == [-signal.SIGKILL, *[0] * (CONTESTANTS - 1)]
    assert database.rows("SELECT inside, won, most FROM contest") == [(0, CONTESTANTS - 1, 1)]
