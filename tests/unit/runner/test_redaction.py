"""No secret of a database URL leaves the process, however it is spelled."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_secrets import in_urls, pieces, secrets
from sqlalchemy.engine import make_url

from lockgate.report import Applied, CheckResult, Failure, Progress, Report, report_line
from lockgate.runner.database.dbapi import credentials_of
from lockgate.runner.output.masked_streams import masked_streams
from lockgate.runner.output.redaction import MASK, Redactor, secrets_of_environment
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


def test_passwords_tokens_and_urls_of_the_environment_are_secrets_of_the_run():
    environ = {
        "PGPASSWORD": "pw",
        "STRIPE_API_KEY": "sk_live_1",
        "SHOP_TOKEN": "Hunter-22",
        "CACHE": "redis://:Hun/ter33@cache:6379/0",
        "PWD": "/srv/shop-1",
        "OLDPWD": "/srv/Shop-2",
        "SORT_KEY": "created_at",
        "TLS_KEY": "/etc/tls/key.pem",
        "POSTGRES_PASSWORD": "postgres",
        "HOME": "/home/Shop-3",
    }

    redact = Redactor(secrets_of_environment(environ))

    assert redact("psql: pw, sk_live_1, Hunter-22 and Hun/ter33 refused") == "psql: ***, ***, *** and *** refused"
    for text in (
        "/srv/shop-1 /srv/Shop-2 /home/Shop-3",
        "ordered by created_at",
        "/etc/tls/key.pem",
        "the postgres role",
    ):
        assert redact(text) == text


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://shop:Pa@Hunter2@db/shop", 'could not translate host name "Hunter2@db" to address'),
        ("postgresql://shop:Pa/Hunter2@db/shop", "invalid port number: Pa/Hunter2"),
        ("postgresql://shop:Pa?Hunter2#x@db/shop", "Pa?Hunter2#x"),
        ("postgresql://db/shop?user=a&password=Hunter2", "login of a with Hunter2"),
        ("postgresql://db/shop?options=-c%20app.password%3DHunter2", "unrecognized value Hunter2"),
        ("postgresql://shop:%48unter2@db/shop", "Hunter2 and %48unter2"),
        ("postgresql://shop:Hunter2 @db/shop", "'Hunter2'"),
        ("mysql://db/shop?ssl_key=Hunter2", "cannot read Hunter2"),
        ("host=db password='Hunter2 it\\'s' dbname=shop", "Hunter2 it's is wrong"),
        ("postgresql://shop:correct Hunter2 battery@db/shop", "refused: correct Hunter2 ..."),
    ],
)
def test_the_password_of_a_url_is_found_wherever_it_stands_and_however_it_comes_back(url, said):
    assert "Hunter2" not in Redactor([url])(said)
    assert "Hunter2" not in Redactor([url])(url)


@given(password=secrets, said=st.sampled_from(["'{}'", "{}", "...{}...", "x={}"]))
def test_a_password_is_masked_as_any_tool_writes_it(password, said):
    redact = Redactor([f"postgresql://shop:{quote(password, safe='')}@db/shop"])

    for spelling in in_urls(password):
        assert not any(piece in redact(said.format(spelling)) for piece in pieces(spelling)), spelling


def test_what_is_printed_is_searched_for_the_secrets_of_the_run_alone(capsys):
    redact = Redactor(["postgresql://shop:Hunter2@db/shop"])
    before = sys.stdout
    with masked_streams(redact.known):
        print("password=x, Hunter2")
        sys.stderr.writelines(["Hunter2", "\n"])
        assert sys.stdout.encoding == before.encoding

    assert sys.stdout is before
    assert capsys.readouterr() == ("password=x, ***\n", "***\n")


@pytest.mark.parametrize(
    "session",
    [
        SimpleNamespace(info=SimpleNamespace(password="token-Hunter2")),  # psycopg
        SimpleNamespace(
            driver_connection=SimpleNamespace(_params=SimpleNamespace(password="token-Hunter2"))
        ),  # asyncpg
        SimpleNamespace(password=b"token-Hunter2"),  # PyMySQL
        SimpleNamespace(info={}, password=None),
    ],
)
def test_a_password_that_env_fetched_itself_is_known_too(session):
    engine = SimpleNamespace(url=make_url("postgresql://shop:s3cret@db/shop"))
    connection = SimpleNamespace(engine=engine, connection=SimpleNamespace(dbapi_connection=session))

    redact = Redactor(credentials_of(connection))

    assert redact("s3cret") == MASK
    assert redact("token-Hunter2") == ("token-Hunter2" if session.__dict__.get("info") == {} else MASK)
