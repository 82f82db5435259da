"""Comments and literals in the text of SQL."""

from __future__ import annotations

import pytest

from lockgate.runner.ledger.committed import commits_inside
from lockgate.runner.sql.lexer import without_comments


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("SELECT 1 -- one", "SELECT 1  "),
        ("SELECT /* one */ 1", "SELECT   1"),
        ("SELECT '-- none', \"/* none */\"", "SELECT '-- none', \"/* none */\""),
        ("SELECT 'it''s -- none'", "SELECT 'it''s -- none'"),
        (r"SELECT E'it\'s -- none' -- one", r"SELECT E'it\'s -- none'  "),
        ("DO $$ BEGIN -- none\nEND $$", "DO $$ BEGIN -- none\nEND $$"),
        ("SELECT $a$ $$ /* none */ $a$", "SELECT $a$ $$ /* none */ $a$"),
        ("SELECT 1 /* no end", "SELECT 1  "),
        ("SELECT 'no end -- none", "SELECT 'no end -- none"),
    ],
)
def test_a_comment_is_none_inside_of_a_literal(statement, left):
    assert without_comments(statement) == left


def test_a_long_text_full_of_what_looks_like_comments_is_read_once():
    row = "(1, 'accepts image/* of any kind')"

    assert without_comments(f"INSERT INTO a VALUES {', '.join([row] * 100_000)} -- end").endswith(f"{row}  ")
    assert without_comments("/* " * 500_000) == " "


@pytest.mark.parametrize(
    ("statement", "commits"),
    [
        ("COMMIT", True),
        ("INSERT INTO a VALUES (1); COMMIT; INSERT INTO a VALUES (2)", True),
        ("END", True),
        ("COMMIT PREPARED 'a'", False),
        ("INSERT INTO notes VALUES ('edit; commit; push')", False),
        ("CREATE PROCEDURE p() LANGUAGE plpgsql AS $body$ BEGIN PERFORM 1; COMMIT; END $body$", False),
    ],
)
def test_only_a_statement_commits(statement, commits):
    assert commits_inside(statement) is commits
