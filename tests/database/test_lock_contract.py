"""What the lock of every database has to keep: N processes at once, one winner at a time, and nobody fails."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

CONTESTANT = """
    import sys, time, random
    from lockgate.runner.database.connection import Database, parse_url
    from lockgate.runner.database.lock import acquire
    from lockgate.runner.database.session_settings import Settings

    database = Database(parse_url(sys.argv[1]), Settings(resource="contest", pod=sys.argv[2]))
    connection, work = database.connect("leader"), database.connect("leader")
    lock = database.backend.leader(connection, "", "contest")
    times = {"clock": time.monotonic, "sleep": time.sleep, "uniform": random.uniform}
    acquire(lock, wait=120, waiting=lambda holder, waited: None, **times)
    assert lock.holder() is not None
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


@pytest.mark.parametrize(
    ("fixture", "drivers"),
    [
        ("database", ("psycopg", "psycopg2", "asyncpg")),
        ("mariadb_database", ("pymysql",)),
        ("sqlite_file", ("pysqlite",)),
    ],
)
def test_of_many_processes_one_has_the_lock_at_a_time_and_none_fails(fixture, drivers, request):
    database = request.getfixturevalue(fixture)
    database.rows("CREATE TABLE contest AS SELECT 0 AS inside, 0 AS won, 0 AS most")
    code = textwrap.dedent(CONTESTANT)

    processes = [
        subprocess.Popen([sys.executable, "-P", "-c", code, database.url(drivers[number % len(drivers)]), str(number)])
        for number in range(CONTESTANTS)
    ]

    assert [process.wait(timeout=120) for process in processes] == [0] * CONTESTANTS
    assert database.rows("SELECT inside, won, most FROM contest") == [(0, CONTESTANTS, 1)]
