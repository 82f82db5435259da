"""No secret of a database URL leaves the process, however it is spelled."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.report import Applied, CheckResult, Failure, Progress, Report, report_line
from lockgate.runner.output.redaction import MASK, Redactor
from lockgate.runner.sql.values import without_values

passwords = st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=4, max_size=30).filter(
    lambda text: text.strip() == text and not text.isspace()
)
fillers = st.text(st.characters(codec="ascii", categories=["L", "P", "Zs"], exclude_characters="*"), max_size=20)


@given(password=passwords, before=fillers, after=fillers)
def test_a_password_is_masked_in_every_spelling(password, before, after):
    redact = Redactor([f"postgresql://shop:{quote(password, safe='')}@db:5432/shop"])

    for spelling in (password, quote(password, safe=""), repr(password)[1:-1], json.dumps(password)[1:-1]):
        assert spelling not in redact(before + spelling + after).replace(MASK, "")


@given(password=passwords)
def test_a_secret_parameter_is_masked(password):
    redact = Redactor([f"postgresql://db/shop?sslmode=require&sslpassword={quote(password, safe='')}"])

    assert password not in redact(f"the server did not like {password} at all").replace(MASK, "")


@given(user=st.from_regex(r"[a-z0-9:%._-]{1,20}", fullmatch=True))
def test_the_user_part_of_any_url_is_masked(user):
    assert (
        Redactor()(f"cannot connect to redis://{user}@cache:6379/0") == f"cannot connect to redis://{MASK}@cache:6379/0"
    )


def test_a_password_that_was_not_quoted_is_still_found():
    redact = Redactor(["postgresql://shop:p@ss/w?rd@db/shop"])

    assert "p@ss/w?rd" not in redact("password p@ss/w?rd refused")


def test_passwords_in_sql_and_in_connection_strings_are_masked():
    assert "geheim" not in Redactor()("CREATE ROLE app PASSWORD 'geheim'")
    assert "geheim" not in Redactor()("host=db password=geheim dbname=shop")


def test_a_url_that_is_none_is_a_secret_as_a_whole():
    assert Redactor(["hunter22"])("cannot parse hunter22") == f"cannot parse {MASK}"


def test_ordinary_sentences_stay_as_they_are():
    redact = Redactor(["postgresql://shop:s3cret@db/shop"])

    for text in ("lock on orders held by pid 4711 (lockgate shop/shop leader)", "SELECT 1 AS token", "revision 9f2c"):
        assert redact(text) == text


def test_a_report_and_a_progress_are_redacted_in_all_free_texts():
    redact = Redactor(["postgresql://shop:s3cret@db/shop"])
    report = Report(
        "Failed",
        "MigrationFailed",
        "s3cret",
        applied=(Applied("a1", "s3cret"),),
        undone=(Applied("a0", "s3cret"),),
        failure=Failure("a2", "s3cret", "", "s3cret"),
        checks=(CheckResult("c", passed=False, message="s3cret"),),
        warnings=("s3cret",),
    )
    assert "s3cret" not in report_line(redact.report(report))
    assert "s3cret" not in str(redact.progress(Progress(step="s3cret", statement="s3cret", waiting_for="s3cret")))


def test_a_secret_in_json_is_masked_also_where_the_json_is_broken():
    assert Redactor()('{"tenant": "a", "db_password": "hunter 22"') == f'{{"tenant": "a", "db_password": {MASK}'


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("UPDATE people SET\n  name = 'O''Brien', note = ''", "UPDATE people SET name = '***', note = '***'"),
        ("INSERT INTO notes VALUES ('a note that is cut o", "INSERT INTO notes VALUES ('***'"),
        ("DO $code$ SELECT 'x' $code$; SELECT $$y$$", "DO '***'; SELECT '***'"),
        ('CREATE INDEX CONCURRENTLY a ON "Orders" (id)', 'CREATE INDEX CONCURRENTLY a ON "Orders" (id)'),
    ],
)
def test_a_statement_of_another_session_is_shown_without_its_values(statement, shown):
    assert without_values(statement) == shown


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ('UPDATE a SET b = "c" WHERE d = 1', "UPDATE a SET b = '***' WHERE d = 1"),
        (r"UPDATE a SET b = 'it\'s', c = 'a " "word" "', d = ''", "UPDATE a SET b = '***', c = '***', d = '***'"),
        ("UPDATE a SET b = \"it's\", c = 'cut o\\", "UPDATE a SET b = '***', c = '***'"),
    ],
)
def test_in_mysql_double_quotes_hold_values_too_and_a_backslash_escapes(statement, shown):
    assert without_values(statement, "mysql") == shown


@pytest.mark.parametrize("word", ["r", "token", "http://", "://a", "password=", "a:", "PASSWORD ", "x="])
def test_a_word_without_end_is_redacted_as_any_other(word):
    text = f"{word * (200_000 // len(word))} password=s3cret"

    assert Redactor()(text).endswith("password=***")
