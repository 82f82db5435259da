"""What of a revision is committed before its end, and which statements are index work that can be done again."""

from __future__ import annotations

import pytest

from lockgate.runner.index_builds import index_work
from lockgate.runner.ledger import Ledger, is_repeatable, only_reads


@pytest.fixture
def ledger():
    following = Ledger()
    following.begin()
    return following


def test_what_is_in_a_transaction_is_not_committed_before_its_commit(ledger):
    ledger.ran(1, "CREATE TABLE a ()", in_transaction=True)
    assert ledger.committed == []

    ledger.commits(1, wrote=True)
    ledger.starts()

    assert ledger.end() == (("CREATE TABLE a ()",), False)


def test_what_is_rolled_back_or_wrote_nothing_is_not_committed(ledger):
    ledger.ran(1, "CREATE TABLE a ()", in_transaction=True)
    ledger.rolled_back(1)
    ledger.ran(1, "DELETE FROM b", in_transaction=True)
    ledger.commits(1, wrote=False)
    ledger.ran(2, "CREATE TABLE c ()", in_transaction=True)
    ledger.commits(1, wrote=True)

    assert ledger.end() == ((), False)


def test_a_commit_that_fails_commits_nothing_and_one_that_is_lost_is_uncertain(ledger):
    ledger.ran(1, "CREATE TABLE a ()", in_transaction=True)
    ledger.commits(1, wrote=True)
    ledger.failed(lost=False)
    assert ledger.committed == []

    ledger.ran(1, "CREATE TABLE b ()", in_transaction=True)
    ledger.commits(1, wrote=True)
    ledger.failed(lost=True)

    assert ledger.end() == (("CREATE TABLE b ()",), True)


def test_an_error_after_a_commit_does_not_take_the_commit_back(ledger):
    ledger.ran(1, "CREATE TABLE a ()", in_transaction=True)
    ledger.commits(1, wrote=True)
    ledger.starts()
    ledger.failed(lost=False)

    assert ledger.end() == (("CREATE TABLE a ()",), False)


@pytest.mark.parametrize("commit", ["COMMIT", "-- over\ncommit;", "SELECT 1; COMMIT; BEGIN"])
def test_a_commit_in_words_counts_too(ledger, commit):
    ledger.ran(1, "CREATE TABLE a ()", in_transaction=True)
    ledger.ran(1, commit, in_transaction=True)

    assert "CREATE TABLE a ()" in ledger.committed


def test_what_is_done_after_the_revision_belongs_to_its_last_transaction(ledger):
    ledger.end()
    ledger.ran(1, "UPDATE alembic_version SET version_num = 'b'", in_transaction=False)

    assert ledger.committed == []


@pytest.mark.parametrize(
    ("statement", "reads"),
    [
        ("SELECT count(*) FROM t", True),
        ("SET lock_timeout = 0;", True),
        ("  -- a comment\n", True),
        ("EXPLAIN SELECT 1 FROM t", True),
        ("SELECT setval('s', 1)", False),
        ("SELECT * INTO copy FROM t", False),
        ("WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone", False),
        ("UPDATE t SET a = 1", False),
    ],
)
def test_statements_that_leave_nothing_behind_are_known(statement, reads):
    assert only_reads(statement) is reads


@pytest.mark.parametrize(
    ("statement", "repeatable"),
    [
        ("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)", True),
        ("DROP INDEX CONCURRENTLY IF EXISTS i;", True),
        ("REINDEX TABLE CONCURRENTLY t", True),
        ("REINDEX (VERBOSE) INDEX CONCURRENTLY i", True),
        ("CREATE INDEX CONCURRENTLY i ON t (a)", False),
        ("DROP INDEX CONCURRENTLY i", False),
        ("REINDEX TABLE CONCURRENTLY t; DELETE FROM t", False),
        ("CREATE TABLE IF NOT EXISTS t ()", False),
    ],
)
def test_only_index_work_that_can_be_done_again_is_repeatable(statement, repeatable):
    assert is_repeatable(statement) is repeatable


@pytest.mark.parametrize(
    ("statement", "exact", "words"),
    [
        ("CREATE INDEX CONCURRENTLY Items_A ON Items (a)", True, ["to_regclass('Items')", "relname = 'items_a'"]),
        (
            'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "A ""b" ON ONLY s . "T" (a)',
            True,
            ["'A \"b'", "'s . \"T\"'"],
        ),
        ("create index concurrently o'k on t (a)", None, []),
        ("CREATE INDEX CONCURRENTLY ON t (a)", False, ["to_regclass('t')"]),
        ("REINDEX TABLE CONCURRENTLY t", False, ["to_regclass('t')", "_cc(new|old)"]),
        ("REINDEX (VERBOSE) INDEX CONCURRENTLY s.i", False, ["to_regclass('s.i')", "_cc(new|old)"]),
        ("REINDEX (CONCURRENTLY) SCHEMA s", False, ["nspname = 's'"]),
        ("REINDEX DATABASE CONCURRENTLY", False, ["_cc(new|old)"]),
        ("REINDEX TABLE t", None, []),
        ("CREATE INDEX i ON t (a)", None, []),
        ("DROP INDEX CONCURRENTLY i", None, []),
    ],
)
def test_what_a_statement_builds_is_read_from_it(statement, exact, words):
    work = index_work(statement)

    assert (work.exact if work else None) == exact
    assert all(word in work.scope for word in words)
