"""A lock whose holder is dead, or cut off without a word, becomes free while the other runners wait for it."""

from __future__ import annotations

import signal
from urllib.parse import urlsplit

import psycopg
import pytest
from broken_network import Proxy

from lockgate.errors import DatabaseUnreachable
from lockgate.runner.database.connection import Database, parse_url
from lockgate.runner.database.session_settings import Settings

COUNTING = "SELECT count(*) FROM generate_series(1, 100000000000) AS n"


@pytest.mark.each_postgres
@pytest.mark.parametrize(("statement", "driver"), [("SELECT pg_sleep(3600)", "psycopg2"), (COUNTING, "asyncpg")])
def test_a_runner_killed_in_a_statement_leaves_its_lock_to_the_one_that_waits(
    statement, driver, start, project, database, eventually
):
    folder = project("slow_async" if driver == "asyncpg" else "slow")
    revision = next(folder.glob("versions/s2.py"), folder.parent / "slow" / "versions" / "s2.py")
    text = revision.read_text()
    revision.write_text(
        text.replace('op.execute(f"SELECT pg_sleep', 'op.execute(os.environ.get("WORK") or f"SELECT pg_sleep')
    )
    assert revision.read_text() != text
    first = start(folder, driver=driver, WORK=statement)
    eventually(lambda: database.value(f"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '{statement[:30]}%'"))
    second = start(folder, driver=driver)
    eventually(lambda: any('"waiting"' in line for line in second.lines))

    first.send(signal.SIGKILL)
    result = second.end()

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert database.rows("SELECT n FROM counted") == [(1,)]
    assert database.value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'lockgate%'") == 0


@pytest.fixture
def proxy(database):
    """Put a network in front of the server that can be broken."""
    with Proxy(urlsplit(database.administration).port) as running:
        yield running


@pytest.mark.parametrize(
    ("style", "driver", "postgres_kind"), [("slow", "psycopg", "system"), ("slow_async", "asyncpg", "embedded")]
)
def test_a_runner_whose_connections_fall_silent_begins_again(
    style, driver, start, project, database, proxy, eventually
):
    port = urlsplit(database.administration).port
    process = start(project(style), url=database.url(driver).replace(f":{port}/", f":{proxy.port}/"), SLOW_SECONDS="5")
    eventually(lambda: database.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(5)%'"))

    for link in proxy.links:
        proxy.cut(link)
    result = process.end()

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert database.rows("SELECT n FROM counted") == [(1,)]
    eventually(
        lambda: database.value("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'lockgate%'")
    )


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_an_own_connection_that_was_lost_says_so_each_time(driver, database):
    connection = Database(parse_url(database.url(driver)), Settings()).connect("probe")
    with psycopg.connect(database.administration, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [connection.value("SELECT pg_backend_pid()")])

    for _ in range(3):
        with pytest.raises(DatabaseUnreachable):
            connection.rows("SELECT 1")
    connection.close()
