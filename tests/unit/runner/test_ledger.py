"""What of a revision is committed before its end, how it is recorded, and when it may be continued."""

from __future__ import annotations

import pytest

from lockgate.runner.ledger.committed import Ledger, is_repeatable, only_reads
from lockgate.runner.ledger.index_work import index_work
from lockgate.runner.ledger.resumption import (
    fails_whole,
    fits_transaction,
    instead,
    is_harmless,
    is_undone_unseen,
    obstacle,
    proof,
    same,
)
from lockgate.runner.records.statements import DONE, STARTED, Kept, Part, digest, kept_statements, shortened, upsert


@pytest.fixture
def ledger():
    following = Ledger()
    following.begin()
    return following


def ran(ledger, key, statement, *, in_transaction):
    ledger.ran(key, statement, ledger.starts(statement), in_transaction=in_transaction)


def texts(kept):
    return [row.text for row in kept]


def test_what_is_in_a_transaction_is_not_committed_before_its_commit(ledger):
    ran(ledger, 1, "CREATE TABLE a ()", in_transaction=True)
    assert ledger.committed == []

    ledger.commits(1, wrote=True)
    ledger.starts("SELECT 1 FROM t")

    assert texts(ledger.end()[0]) == ["CREATE TABLE a ()"]


def test_what_is_rolled_back_or_wrote_nothing_is_not_committed(ledger):
    ran(ledger, 1, "CREATE TABLE a ()", in_transaction=True)
    ledger.rolled_back(1)
    ran(ledger, 1, "DELETE FROM b", in_transaction=True)
    ledger.commits(1, wrote=False)
    ran(ledger, 2, "CREATE TABLE c ()", in_transaction=True)
    ledger.commits(1, wrote=True)

    assert ledger.end() == ((), False)


def test_a_commit_that_fails_commits_nothing_and_one_that_is_lost_is_uncertain(ledger):
    ran(ledger, 1, "CREATE TABLE a ()", in_transaction=True)
    ledger.commits(1, wrote=True)
    ledger.failed(lost=False)
    assert ledger.committed == []

    ran(ledger, 1, "CREATE TABLE b ()", in_transaction=True)
    ledger.commits(1, wrote=True)
    ledger.failed(lost=True)

    committed, uncertain = ledger.end()
    assert (texts(committed), uncertain) == (["CREATE TABLE b ()"], True)


def test_an_error_after_a_commit_does_not_take_the_commit_back(ledger):
    ran(ledger, 1, "CREATE TABLE a ()", in_transaction=True)
    ledger.commits(1, wrote=True)
    ledger.starts("SELECT 1 FROM t")
    ledger.failed(lost=False)

    assert texts(ledger.end()[0]) == ["CREATE TABLE a ()"]


@pytest.mark.parametrize("commit", ["COMMIT", "-- over\ncommit;", "SELECT 1; COMMIT; BEGIN"])
def test_a_commit_in_words_counts_too(ledger, commit):
    ran(ledger, 1, "CREATE TABLE a ()", in_transaction=True)
    ran(ledger, 1, commit, in_transaction=True)

    assert "CREATE TABLE a ()" in texts(ledger.committed)


@pytest.mark.parametrize("words", ["ROLLBACK", "abort;"])
def test_a_rollback_in_words_takes_back(ledger, words):
    ran(ledger, 1, "CREATE TABLE a ()", in_transaction=True)
    ran(ledger, 1, words, in_transaction=False)

    assert ledger.committed == []


def test_after_a_rollback_to_a_savepoint_in_words_nobody_can_tell(ledger):
    ran(ledger, 1, "CREATE TABLE a ()", in_transaction=True)
    ran(ledger, 1, "ROLLBACK TO SAVEPOINT s", in_transaction=True)
    ledger.commits(1, wrote=True)

    assert [row.state for row in ledger.committed] == [STARTED]


def test_what_comes_after_a_savepoint_that_is_taken_back_is_not_committed(ledger):
    ran(ledger, 1, "CREATE TABLE a ()", in_transaction=True)
    ledger.savepoint(1, "s")
    ran(ledger, 1, "CREATE TABLE b ()", in_transaction=True)
    ledger.rolled_back_to(1, "s")
    ran(ledger, 1, "CREATE TABLE c ()", in_transaction=True)
    ledger.commits(1, wrote=True)

    assert [(row.position, row.text) for row in ledger.committed] == [
        (1, "CREATE TABLE a ()"),
        (3, "CREATE TABLE c ()"),
    ]


def test_what_is_done_after_the_revision_belongs_to_its_last_transaction(ledger):
    ledger.end()
    ran(ledger, 1, "UPDATE alembic_version SET version_num = 'b'", in_transaction=False)

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
        ("ALTER TYPE mood ADD VALUE IF NOT EXISTS 'good'", True),
        ("ALTER TYPE mood ADD VALUE 'good'", False),
        ("VACUUM t", True),
        ("VACUUM t; DELETE FROM t", False),
    ],
)
def test_only_what_can_be_done_again_without_effect_is_repeatable(statement, repeatable):
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
        ("REINDEX (CONCURRENTLY) SCHEMA s", False, ["to_regnamespace('s')"]),
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


@pytest.mark.parametrize(
    ("statement", "fits"),
    [
        ("INSERT INTO t VALUES (1)", True),
        ("/* why */ alter type mood add value 'good'", True),
        ("CREATE TABLE t ()", True),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", False),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", False),
        ("CREATE DATABASE d", False),
        ("ALTER SYSTEM SET work_mem = '1GB'", False),
        ("VACUUM t", False),
        ("CALL p()", False),
        ("DO $$ BEGIN DELETE FROM t; COMMIT; END $$", False),
        ("DO $$ BEGIN DELETE FROM t; END $$", True),
    ],
)
def test_only_what_is_allowed_there_is_put_into_a_transaction(statement, fits):
    assert fits_transaction(statement) is fits


@pytest.mark.parametrize(
    ("statement", "whole"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", True),
        ("CREATE DATABASE d", True),
        ("VACUUM t", True),
        ("CALL p()", False),
        ("CLUSTER", False),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", False),
        ("CREATE DATABASE d; CREATE DATABASE e", False),
    ],
)
def test_of_most_statements_that_fail_nothing_stays(statement, whole):
    assert fails_whole(statement) is whole


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", "indisvalid"),
        ("DROP INDEX CONCURRENTLY s.i", "to_regclass('s.i') IS NULL"),
        ("ALTER TYPE mood ADD VALUE 'it''s' BEFORE 'bad'", "e.enumlabel = 'it''s'"),
    ],
)
def test_the_catalogue_says_whether_some_statements_are_done(statement, words):
    assert words in (proof(statement) or "")
    assert is_harmless(statement)


@pytest.mark.parametrize(
    "statement", ["CREATE INDEX CONCURRENTLY ON t (a)", "CALL p()", "DROP INDEX CONCURRENTLY i; DELETE FROM t"]
)
def test_of_others_it_says_nothing(statement):
    assert proof(statement) is None
    assert not is_harmless(statement)


def test_a_revision_is_not_continued_where_nobody_knows_what_was_done():
    assert obstacle([Kept(1, "DELETE FROM t"), Kept(2, "CREATE INDEX CONCURRENTLY i ON t (a)", state=STARTED)]) == ""
    assert "CALL p()" in obstacle([Kept(1, "CALL p()", state=STARTED)])
    assert "returned rows" in obstacle([Kept(1, "INSERT INTO t VALUES (1) RETURNING id", returned_rows=True)])


def test_a_statement_is_the_same_with_the_same_words_and_parameters():
    def said(statement, parameters):
        return digest("salt", statement, parameters)

    row = Kept(1, "", salt="salt", digest=said("INSERT INTO t VALUES (%(a)s)", {"a": 1}))

    assert same(row, "INSERT INTO t VALUES (%(a)s)", {"a": 1})
    assert not same(row, "INSERT INTO t VALUES (%(a)s) ", {"a": 1})
    assert not same(row, "INSERT INTO t VALUES (%(a)s)", {"a": 2})
    assert not same(row, "INSERT INTO t VALUES (%(a)s)", {"a": "1"})
    assert not same(row, "INSERT INTO u VALUES (%(a)s)", {"a": 1})
    assert said("s", [(1, 2)]) != said("s", [(1,), (2,)])
    assert said("s", ("a  b",)) != said("s", ("a b",))
    assert said("s", (b"ab", b"c")) != said("s", (b"a", b"bc"))
    assert said("s", [b"x"]) == said("s", [memoryview(b"x")])


def test_what_is_sent_instead_of_a_statement_is_about_as_many_rows():
    assert instead(Kept(1, "", row_count=7)) == "SELECT FROM generate_series(1, 7)"
    assert instead(Kept(1, "", row_count=-1)) == "SELECT FROM generate_series(1, 0)"


def test_a_record_holds_any_text_and_neither_parameters_nor_literals():
    part = Part("public.alembic_version", "a")
    text = "INSERT INTO t VALUES ('it''s 100%', :a, '\\', $$x$$)"
    sql = upsert(part, [Kept(1, text, salt="5a", digest=digest("5a", text, {"a": "hunter2"}), row_count=1)])

    assert "INSERT INTO t VALUES ('***', :a, '***', '***')" in sql
    assert not any(value in sql for value in ("it''s", "$$x$$"))
    assert "hunter2" not in sql
    assert sql.count("$s") == 8  # each of four literals between dollars that its text does not contain


def test_what_is_read_belongs_to_one_version_table():
    rows = [
        ("s.v", "a", "upgrade", 1, "x", "", "", DONE, 1, False),
        ("t.v", "a", "upgrade", 1, "y", "", "", DONE, 1, False),
    ]

    found = kept_statements(lambda _: rows, "s.v")

    assert found == {Part("s.v", "a"): (Kept(1, "x", row_count=1),)}


@pytest.mark.parametrize(
    ("other", "unseen"),
    [
        ("CREATE TABLE b ()", True),
        ("DROP INDEX a_i", False),
        ("DO $$ BEGIN EXECUTE '***'; END $$", False),
        ("INSERT INTO words VALUES ('***')", True),
    ],
)
def test_what_is_put_together_of_literals_that_are_not_kept_may_name_an_index(other, unseen):
    built = Kept(1, "CREATE INDEX CONCURRENTLY a_i ON a (b)")

    assert is_undone_unseen(built, (built, Kept(2, other))) is unseen


def test_a_record_of_before_is_shown_without_its_literals():
    assert shortened("ALTER ROLE a PASSWORD 'Hunter2';") == "ALTER ROLE a PASSWORD '***'"
