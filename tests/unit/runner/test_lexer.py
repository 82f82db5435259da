"""Where literals, names and comments of SQL begin and end; what PostgreSQL thinks of it is in tests/database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_secrets import literals, mysql_literals, secrets

from lockgate.runner.sql.lexer import COMMENT, LITERAL, NAME, statements, tokens, without_comments
from lockgate.runner.sql.values import literal_values, masked_plan, masked_values, without_values

DIALECTS = ("postgresql", "mysql", "sqlite")


def parts(text, kind, dialect="postgresql"):
    return [token.text for token in tokens(text, dialect) if token.kind == kind]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT 'it''s', E'it\\'s', b'1', X'1f', n'x'", ["'it''s'", "E'it\\'s'", "b'1'", "X'1f'", "n'x'"]),
        ("SELECT '\\', 'a'", ["'\\'", "'a'"]),
        ("SELECT e'\\\\', 'a'", ["e'\\\\'", "'a'"]),
        ("SELECT U&'d!0061t' UESCAPE '!'", ["U&'d!0061t'", "'!'"]),
        ("SELECT 'a'\n 'b', 'c' 'd'", ["'a'\n 'b'", "'c'", "'d'"]),
        ("SELECT E'a' -- it's\n  'b\\'c'", ["E'a' -- it's\n  'b\\'c'"]),
        ("SELECT $$a'b$$, $x$ $$ $y$ $x$, $1, a$$b, a$b$c", ["$$a'b$$", "$x$ $$ $y$ $x$"]),
        ("SELECT nameE'a', typeU&'b'", ["'a'", "'b'"]),
        ("SELECT '\u2013', é$$x$$, $1$$x$$", ["'\u2013'", "$$x$$"]),
        ("SELECT 'cut o", ["'cut o"]),
        ("SELECT $a$ cut $", ["$a$ cut $"]),
        ("SELECT E'cut o\\", ["E'cut o\\"]),
        ("SELECT /* 'a' /* ' */ ' */ 'b' -- 'c", ["'b'"]),
        ("SELECT \"it's\", U&\"it's\", 'a' \"cut 'o", ["'a'"]),
        ("SELECT a--'b\n, a/*'*/, a - '1', a / '2'", ["'1'", "'2'"]),
    ],
)
def test_literals_of_postgresql_end_where_they_end(text, found):
    assert parts(text, LITERAL) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"SELECT 'it\'s', 'it''s', ''", [r"'it\'s'", "'it''s'", "''"]),
        (r'SELECT "a\"b", "a""b", "it' + "'" + 's"', [r'"a\"b"', '"a""b"', '"it\'s"']),
        ("SELECT `it's`, `a``'b`, 'c'", ["'c'"]),
        ("SELECT 1 # it's\n, 'a' -- it's\n, 5--'b'\n", ["'a'", "'b'"]),
        ("SELECT /* it's /* */ 'a' /*! , 'b' */ /*!80000 , 'c' */ /*M!100100 , 'd'*/", ["'a'", "'b'", "'c'", "'d'"]),
        ("SELECT _utf8mb4'a', N'b', x'1f', $$", ["'a'", "N'b'", "'1f'"]),
        ("SELECT 'cut o\\", ["'cut o\\"]),
    ],
)
def test_literals_of_mysql_end_where_they_end(text, found):
    assert parts(text, LITERAL, "mysql") == found


def test_sqlite_has_names_in_brackets_and_comments_that_do_not_nest():
    text = "SELECT [it's], `it's`, \"it's\", 'a\\', x'1f' /* /* */, 'b'"

    assert parts(text, LITERAL, "sqlite") == ["'a\\'", "x'1f'", "'b'"]
    assert parts(text, NAME, "sqlite") == ["[it's]", "`it's`", '"it\'s"']


@given(st.text("'\"$aEU&\\-/*\n #`[];é1", max_size=40), st.sampled_from(DIALECTS))
def test_the_tokens_of_any_text_are_the_text(text, dialect):
    found = list(tokens(text, dialect))

    assert "".join(token.text for token in found) == text
    assert all(token.text for token in found)
    assert ";".join("".join(token.text for token in statement) for statement in statements(text, dialect)) == text


@given(st.text("'\"$aEU&\\-/*\n #`[];é1", max_size=40), st.integers(0, 40), st.sampled_from(DIALECTS))
def test_what_is_shown_of_a_statement_that_is_cut_off_is_a_beginning_of_what_is_shown_of_it(text, length, dialect):
    def shown(statement):
        return "".join(token.text for token in tokens(statement, dialect) if token.kind not in (LITERAL, COMMENT))

    assert len(shown(text[:length])) <= len(shown(text)) + 4  # half of the beginning of a literal: `$ta`, `/`, `U&`
    assert (
        parts(text[:length], LITERAL, dialect)[:-1]
        == parts(text, LITERAL, dialect)[: max(len(parts(text[:length], LITERAL, dialect)) - 1, 0)]
    )


@given(secrets)
def test_no_spelling_of_a_literal_shows_its_value_and_its_value_is_known(secret):
    spelled = {("postgresql", text) for text in literals(secret).values()}
    spelled |= {("mysql", text) for text in mysql_literals(secret).values()}
    for dialect, text in spelled:
        statement = f"UPDATE a SET b = {text}, c = 1"

        shown = masked_values(statement, dialect).replace("UESCAPE '***'", "").replace("_utf8mb4", "")
        assert " ".join(shown.split()) in ("UPDATE a SET b = '***', c = 1", "UPDATE a SET b = '***' , c = 1"), text
        if "\n" not in text and "\\" not in text:
            assert secret in literal_values(statement, dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO a VALUES " + ", ".join(["(1, 'a text', NULL, 2.5)"] * 20_000),
        "'" * 200_001,
        "$" * 50_000,
        "$a$" * 60_001,
        "a$" * 100_000,
        "/*" * 100_000,
        "'a'\n" * 50_000,
        "'a'" + "\n-- a" * 50_000,
        "-" * 50_000,
        "\\'" * 100_000,
        "E'" * 60_000,
        "a" * 200_000 + "'b'",
        "é" * 60_000 + "'b'",
    ],
    ids=lambda text: text[:12],
)
def test_a_long_text_is_read_in_one_go_whatever_it_looks_like(text, dialect):
    assert "".join(token.text for token in tokens(text, dialect)) == text


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        (
            "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT 'Hunter2' $$",
            "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT '***' $$",
        ),
        ("DO $a$ BEGIN RAISE 'Hunter2'; END $a$", "DO $a$ BEGIN RAISE '***'; END $a$"),
        ("DO LANGUAGE plpgsql $a$ BEGIN x := $$Hunter2", "DO LANGUAGE plpgsql $a$ BEGIN x := '***'"),
        ('DO LANGUAGE plpython3u $$ x = "Hunter2" $$', "DO LANGUAGE plpython3u '***'"),
        ("CREATE FUNCTION f(a text DEFAULT $$Hunter2$$) AS $$x$$", "CREATE FUNCTION f(a text DEFAULT '***') AS $$x$$"),
        ("SELECT 1; ALTER ROLE a PASSWORD $$Hunter2$$", "SELECT 1; ALTER ROLE a PASSWORD '***'"),
    ],
)
def test_of_a_routine_the_code_is_shown_and_its_literals_are_not(statement, shown):
    assert masked_values(statement) == shown


CREDENTIALS = [
    "ALTER ROLE a WITH PASSWORD\n    {}",
    "ALTER ROLE a PASSWORD/**/{}",
    "CREATE USER a ENCRYPTED PASSWORD {} VALID UNTIL 'infinity'",
    "CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'u', password {})",
    "ALTER USER MAPPING FOR a SERVER s OPTIONS (SET sslpassword {})",
    "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'h', fetch {})",
    "CREATE SUBSCRIPTION s CONNECTION {} PUBLICATION p",
    "SELECT * FROM dblink({}, 'SELECT 1') AS t(a int)",
    "COPY a FROM PROGRAM {}",
    "INSERT INTO users (name, password_hash) VALUES ('a', {})",
    "UPDATE settings SET api_key = {}",
    "SELECT set_config('app.key', {}, false)",
    "SET LOCAL app.tenant_salt = {}",
    "SELECT pgp_sym_encrypt(a, {}) FROM b",
    "DO $body$ BEGIN EXECUTE format('ALTER ROLE a PASSWORD %L', {}); END $body$",
    "SELECT 1; -- not this\nALTER ROLE a PASSWORD {}; SELECT 2",
]


@given(secrets.filter(lambda text: "$body$" not in text), st.sampled_from(CREDENTIALS))
def test_a_plan_shows_no_literal_of_a_statement_with_credentials(secret, statement):
    for literal in literals(secret).values():
        shown = masked_plan(statement.format(literal))

        assert literal not in shown
        assert secret[:8] not in shown
        assert secret[-8:] not in shown


def test_a_plan_shows_ordinary_literals():
    sql = (
        "ALTER TABLE a ADD b text DEFAULT 'new' NOT NULL; -- Running upgrade a -> b\n"
        "INSERT INTO c VALUES ('x', $$y$$);\n"
        "CREATE USER a IDENTIFIED BY 'Hunter2';"
    )

    assert masked_plan(sql, "mysql") == sql.replace("Hunter2", "***")


def test_a_comment_that_looks_like_one_is_kept_where_it_is_none():
    assert without_comments("SELECT 1 /* a /* b */ c */ + 1") == "SELECT 1   + 1"
    assert without_comments("SELECT '#', 1 # a", "mysql") == "SELECT '#', 1  "
    assert without_values("SELECT 1") == "SELECT 1"
