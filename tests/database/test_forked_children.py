"""What env.py, or a revision, forks is none of the runner's: it may end as it likes, and takes nothing with it."""

from __future__ import annotations

import pytest

FORKING_ENV = """
import os
import sys
import time

from alembic import context
from sqlalchemy import create_engine, pool

if os.fork() == 0:
    time.sleep(0.3)
    sys.exit("the child of env.py ends")

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
TERMINATES_A_WORKER = """
import multiprocessing
import time
worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
worker.start()
worker.terminate()
worker.join()
op.execute(f"CREATE TABLE ended AS SELECT {worker.exitcode} AS code")
"""
FORKS_A_CHILD_THAT_RAISES = """
child = os.fork()
if child == 0:
    raise ValueError("the child of a revision ends")
_, status = os.waitpid(child, 0)
op.execute(f"INSERT INTO ended VALUES ({os.waitstatus_to_exitcode(status)})")
"""


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_forked_child_that_ends_is_neither_a_runner_nor_an_end_of_the_run(driver, written, run, database):
    folder = written(
        TERMINATES_A_WORKER, FORKS_A_CHILD_THAT_RAISES, "op.execute('SELECT pg_sleep(0.5)')", env=FORKING_ENV
    )

    result = run(folder, driver=driver)

    assert (result.code, result.reason, result.report.attempts) == (0, "Migrated", 1), result.output
    assert result.output.count('"lockgate":"report"') == 1
    assert "the child of env.py ends" in result.output
    assert "the child of a revision ends" in result.output
    assert database.rows("SELECT code FROM ended ORDER BY code") == [(-15,), (1,)]
