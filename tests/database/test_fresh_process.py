"""What cannot be loaded twice in one process: the run goes on in a fresh one, and tells of the whole run."""

from __future__ import annotations

import signal

import pytest

ONCE = "import sys\nassert not hasattr(sys, 'shop'), 'shop is defined already'\nsys.shop = True\n"
ALTER = "op.execute('ALTER TABLE a ADD COLUMN IF NOT EXISTS b integer')"
FRESH = "Going on in a fresh process."


@pytest.fixture
def loads_once(written, database):
    """Write a project of two revisions, the second of which needs a lock; what it defines can be defined once."""
    database.rows("CREATE TABLE a (id integer)")

    def write(place: str = "env.py"):
        folder = written("op.execute('CREATE TABLE c ()')", (ONCE if place == "a revision" else "", ALTER))
        if place == "env.py":
            env = folder / "migrations" / "env.py"
            env.write_text(ONCE + env.read_text())
        return folder

    return write


@pytest.mark.parametrize("place", ["a revision", "env.py"])
def test_a_lock_wait_is_tried_again_in_a_fresh_process(place, loads_once, tried_again_behind_a_reader, database):
    result = tried_again_behind_a_reader(loads_once(place))

    report = result.report
    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert report.attempts > 1
    assert (report.current, report.reached) == ((), ("n2",))
    assert [step.revision for step in report.applied] == ["n1", "n2"]
    assert database.value("SELECT count(*) FROM lockgate.history") == 2
    assert database.advisory_locks() == 0


def test_a_signal_in_a_fresh_process_ends_the_run_as_ever(loads_once, start, database, eventually):
    folder = loads_once()
    with database.connect() as reader:
        reader.execute("SELECT FROM a")
        process = start(folder, LOCKGATE_OUTPUT="plain")
        eventually(lambda: any(FRESH in line for line in process.lines))
        process.send(signal.SIGTERM)
        result = process.end()

    assert result.code == 30, result.output
    assert "lockgate: Interrupted: " in result.output
    assert "  applied n1" in result.output


def test_the_models_are_compared_in_a_fresh_process(loads_once, run):
    folder = loads_once()
    env = folder / "migrations" / "env.py"
    models = "from sqlalchemy import Column, Integer, MetaData, Table\nmodels = MetaData()\nTable('c', models)\n"
    models += "Table('a', models, Column('id', Integer), Column('b', Integer))\n"
    env.write_text(models + env.read_text().replace("(connection=connection)", "(connection, target_metadata=models)"))

    result = run(folder, LOCKGATE_CHECKS='[{"drift": {}}]')

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert [step.revision for step in result.report.applied] == ["n1", "n2"]
    assert [check.name for check in result.report.checks if check.passed] == ["revision", "indexes", "drift"]
    assert run(folder, "status").report.current == ("n2",)


def test_revisions_are_taken_back_in_a_fresh_process(loads_once, run):
    folder = loads_once()
    assert run(folder).code == 0

    result = run(folder, "downgrade", "base", "--downgrade", "Allow")

    assert (result.code, result.reason) == (0, "Downgraded"), result.output
    assert [step.revision for step in result.report.undone] == ["n2", "n1"]
    assert (result.report.current, result.report.reached) == (("n2",), ())
