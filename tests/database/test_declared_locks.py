"""Locks that a revision file declares: taken together, when they are free, before the revision begins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from lockgate.runner.entry.declared_locks import DeclaredLocks, take


@pytest.fixture
def folder(project, run):
    """Apply what makes the tables."""
    folder = project("locks_ahead")
    run(folder, "migrate", "--target", "l1")
    return folder


@pytest.mark.parametrize(("config", "driver"), [("alembic.ini", "psycopg2"), ("asynchronous.ini", "asyncpg")])
def test_while_a_long_transaction_is_waited_for_nobody_queues_behind(
    config, driver, folder, start, database, eventually
):
    with database.connect() as report, database.connect(autocommit=True) as application:
        report.execute("SELECT count(*) FROM customers")
        application.execute("SET lock_timeout = '1ms'")
        process = start(folder, "migrate", "--config", config, driver=driver)
        waits = f"lock on customers held by pid {report.info.backend_pid}"
        eventually(lambda: any(waits in line for line in process.lines))

        for _ in range(200):
            application.execute("SELECT FROM customers, orders")
        report.rollback()
        result = process.end()

    assert (result.code, result.reason, result.report.attempts) == (0, "Migrated", 1), result.output


def test_an_application_that_locks_the_tables_in_the_opposite_order_meets_no_deadlock(folder, database, eventually):
    orders_and_customers = DeclaredLocks("l2.py", ("orders", "customers"))
    with database.connect() as application, database.connect() as migration, ThreadPoolExecutor(1) as pool:
        migration.execute("SET lock_timeout = '20s'")
        migration.commit()
        application.execute("UPDATE customers SET n = n + 1")
        taking = pool.submit(take, orders_and_customers, lambda sql: _rows(migration.execute(sql)))
        eventually(lambda: database.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation IS NOT NULL"))

        application.execute("UPDATE orders SET n = n + 1")  # waits for the migration, which waits for this
        application.commit()

        with pytest.raises(psycopg.errors.LockNotAvailable):
            taking.result()
        migration.rollback()
        take(orders_and_customers, lambda sql: _rows(migration.execute(sql)))
        assert _rows(migration.execute("SHOW lock_timeout")) == [("20s",)]


def _rows(cursor):
    return cursor.fetchall() if cursor.description else []


def test_a_table_that_is_not_there_is_named_with_the_file(folder, run, database):
    edit(folder, '("orders", "nowhere.table")')

    result = run(folder)

    assert (result.code, result.reason) == (21, "InvalidRevisions"), result.output
    assert 'l2.py: lockgate_locks names "nowhere"."table", which is no table' in result.report.message
    assert database.rows("SELECT version_num FROM alembic_version") == [("l1",)]


def test_what_cannot_be_meant_is_refused_before_anything_is_applied(project, run, database):
    folder = project("locks_ahead")
    edit(folder, '"orders"')

    result = run(folder)

    assert (result.code, result.reason) == (21, "InvalidRevisions"), result.output
    assert "l2.py: lockgate_locks is 'orders'" in result.report.message
    assert database.value("SELECT to_regclass('orders')") is None


def edit(folder, tables):
    file = folder / "versions" / "l2.py"
    file.write_text(file.read_text().replace('("orders", "public.customers")', tables))
