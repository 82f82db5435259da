"""What is said of a revision that failed is what is so in the database, or nothing is said."""

from __future__ import annotations

import pytest

BELOW = """
raw = op.get_bind().connection
raw.cursor().execute("CREATE TABLE copied (n int)")
raw{deeper}.commit()
op.execute("SELECT 1/0")
"""


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_commit_through_the_driver_is_a_commit_in_the_middle(driver, run, written):
    folder = written(BELOW.format(deeper=""))

    failed, again = run(folder, driver=driver), run(folder, driver=driver)

    assert (failed.code, failed.reason) == (20, "HalfApplied"), failed.output
    assert "(work over the connection of the driver, which it committed there)" in failed.report.message
    assert again.reason == "HalfApplied"
    assert "Nothing was done. Either finish the revision by hand" in again.report.message


def test_nothing_is_claimed_of_what_a_revision_does_in_the_object_of_the_driver(run, written):
    result = run(written(BELOW.format(deeper=".driver_connection")))

    assert (result.code, result.reason) == (20, "MigrationFailed"), result.output
    assert "rolled back" not in result.report.message
    assert "look at what it has committed there" in result.report.message


def test_an_error_without_words_is_an_error_of_its_revision(run, written):
    body = (
        "class Mute(Exception):\n    def __str__(self):\n        raise ValueError\nop.execute('SELECT 1')\nraise Mute"
    )

    result = run(written(body))

    assert result.reason == "MigrationFailed", result.output
    assert result.report.message.startswith("Revision n1 failed at n1.py:")
    assert "and its transaction was rolled back: Mute." in result.report.message


def test_a_revision_that_takes_back_its_own_work_is_not_applied(run, written, database):
    result = run(written("op.execute('CREATE TABLE a ()')\nop.get_bind().rollback()"))

    assert (result.code, result.reason) == (20, "MigrationFailed"), result.output
    assert "n1 ends with a rollback() of the connection that it was given" in result.report.message
    assert database.value("SELECT to_regclass('a') IS NULL")
