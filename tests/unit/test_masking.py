"""What is taken for a secret in any text, by runner and operator alike."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from planted_secrets import literals, pieces, secrets

from lockgate.decide.outcomes import failure_text
from lockgate.masking import masked
from lockgate.report import Failure, Progress, Report, progress_line, report_line, termination_message
from lockgate.runner.output.redaction import Redactor


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot reach redis://:ab/cdHunter2@cache:6379/0", "cannot reach redis://***@cache:6379/0"),
        ("see postgresql://u:a@b?c#Hunter2@db/x, or ask", "see postgresql://***@db/x, or ask"),
        ('{"url": "amqp://u:Hunter2@mq", "mail": "a@b.c"}', '{"url": "amqp://***@mq", "mail": "a@b.c"}'),
        (
            "postgresql://db/x?user=a&password=Hunter2&sslmode=require",
            "postgresql://db/x?user=a&password=***&sslmode=require",
        ),
        ("https://shop/x?sig=Hunter2 is down", "https://shop/x?*** is down"),
        ("Authorization: Bearer Hunter2", "Authorization: Bearer ***"),
        ("Proxy-Authorization: Basic SHVudGVyMg==, retry", "Proxy-Authorization: Basic ***, retry"),
        ("{'Authorization': 'Bearer Hunter2'}", "{'Authorization': 'Bearer ***'}"),
        ("sent bearer eyJhbGciOiJIUzI1NiJ9.e30.x", "sent bearer ***"),
        ("PGPASSWORD=Hunter2 psql failed", "PGPASSWORD=*** psql failed"),
        ("api_key=Hunter2 refused", "api_key=*** refused"),
        ("API-Key: Hunter2", "API-Key: ***"),
        ("{'password': 'Hunter2', 'a': 1}", "{'password': ***, 'a': 1}"),
        (r'{"a": "{\"db_password\": \"Hunter2\"}"}', r'{"a": "{\"db_password\": ***}'),
        ("host=db password='Hun\\'ter 2' dbname=x", "host=db password=*** dbname=x"),
        ("mysqldump -pHunter2 failed", "mysqldump -p*** failed"),
        ("pg_dump --db-password Hunter2 --verbose", "pg_dump --db-password *** --verbose"),
        ("curl -s -u ann:Hunter2 http://x", "curl -s -u ann:*** http://x"),
        ("CREATE USER a IDENTIFIED WITH sha256 BY 'Hunter2'", "CREATE USER a IDENTIFIED WITH sha256 BY '***'"),
        ("CREATE USER a IDENTIFIED BY PASSWORD '*4ACFE3'", "CREATE USER a IDENTIFIED BY PASSWORD '***'"),
        ("ALTER ROLE a PASSWORD/**/ $x$Hunter2$x$", "ALTER ROLE a PASSWORD/**/ '***'"),
        ("ALTER ROLE a PASSWORD E'Hunter2", "ALTER ROLE a PASSWORD '***'"),
        (
            "[SQL: x]\n[parameters: {'a': ']', 'b': 'Hunter2'}]\n(Background on this",
            "[SQL: x]\n[parameters: ***]\n(Background on this",
        ),
        (
            "DataError: invalid input for query argument $1: 'Hunter2' (an int)",
            "DataError: invalid input for query argument $1: *** (an int)",
        ),
        (
            "ValueError: invalid literal for int() with base 10: 'Hunter2'",
            "ValueError: invalid literal for int() with base 10: ***",
        ),
        ("could not convert string to float: 'Hunter2'", "could not convert string to float: ***"),
        ("ALTER ROLE a LOGIN PASSWORD Hunter2; SELECT 1", "ALTER ROLE a LOGIN PASSWORD ***; SELECT 1"),
        ("DETAIL:  Failing row contains (1, Hunter2).", "DETAIL:  ***"),
        ("Key (email)=(Hunter2) already exists.", "Key (email)=(***) already exists."),
        ("Failing row contains (1, Hunter2 (x)).", "Failing row contains (***)."),
        ('invalid input syntax for type integer: "Hunter2"', "invalid input syntax for type integer: ***"),
    ],
)
def test_a_secret_is_masked_where_it_usually_stands(text, shown):
    assert masked(text) == shown
    assert masked(shown).count("***") == shown.count("***")


@pytest.mark.parametrize(
    "text",
    [
        'InvalidPasswordError: password authentication failed for user "shop"',
        "no password supplied",
        "ALTER TABLE password ADD x text",
        "ALTER ROLE a PASSWORD NULL",
        "CREATE SCHEMA lockgate AUTHORIZATION plain",
        "CREATE TABLE users (id integer, password text NOT NULL)",
        'secret "shop-db" not found',
        "unexpected token near FROM",
        "https://lockgate.dev/docs and ann@example.com",
        "postgresql+psycopg://host:5432/name",
        "the primary key (id) of mysql is not the foreign key",
        "CREATE INDEX CONCURRENTLY a ON tokens (secret)",
    ],
)
def test_ordinary_sentences_stay_as_they_are(text):
    assert masked(text) == text


WORDS = (
    "password=",
    "://a",
    "PASSWORD '",
    "[parameters: ",
    "Failing row contains (",
    "(a)=(",
    "bearer ",
    "'",
    '"',
    "\\'",
)


@pytest.mark.parametrize(
    "word",
    [
        *WORDS,
        "mysql -",
        "identified by ",
        "PASSWORD/**/",
        "DETAIL: ",
        "token" * 9,
        "a@://",
        "CREATE USER a ",
        "invalid input for a",
    ],
)
def test_a_text_without_end_is_masked_in_one_go(word):
    assert len(masked(word * (100_000 // len(word)))) > 0


PLACES = (
    "cannot reach amqp://shop:{}@mq:5672/x",
    "api_key={!r} was refused",
    'config {{"password": {json}, "b": 1}} is wrong',
    "ALTER ROLE a PASSWORD {sql} failed",
    "boom [SQL: x]\n[parameters: {{'a': {!r}}}]",
)


@given(secrets, st.sampled_from(PLACES), st.data())
def test_a_secret_in_a_text_reaches_neither_report_nor_status(secret, place, data):
    assume("://" not in place or "'" not in secret)
    spelled = data.draw(st.sampled_from(sorted(literals(secret).values())))
    text = place.format(secret, json=json.dumps(secret), sql=spelled)
    report = Redactor().report(
        Report("Failed", "MigrationFailed", text, warnings=(text,), failure=Failure("a1", text, "42601", text, (text,)))
    )
    progress = Redactor().progress(Progress(step=text, statement=text, waiting_for=text))

    for shown in (
        report_line(report),
        termination_message(report),
        progress_line("", "running", progress),
        failure_text(report),
        failure_text(Report("Failed", "MigrationFailed", text)),
    ):
        assert not any(piece in shown for piece in pieces(secret) | {json.dumps(secret)[1:-1], repr(secret)[1:-1]})
