"""Which words of a database's error may be repeated."""

from __future__ import annotations

import pytest
from hypothesis import given
from planted_secrets import literals, pieces, secrets

from lockgate.runner.database.error_texts import LIMIT, shown_text
from lockgate.runner.database.outcome import brief


class Sent(Exception):
    """As SQLAlchemy's DBAPIError knows what was sent."""

    def __init__(self, statement, params=None):
        super().__init__("never shown")
        self.statement, self.params = statement, params


@pytest.mark.parametrize(
    ("state", "text", "shown"),
    [
        ("22P02", 'invalid input syntax for type integer: "Hunter2"', "invalid input syntax for type integer: ***"),
        ("22P02", 'invalid input syntax for type json: "{"a": "Hun"}"', "invalid input syntax for type json: ***"),
        (
            "22P02",
            "ungültige Eingabesyntax für Typ integer: »Hunter2«",
            'ungültige Eingabesyntax für Typ integer: "***"',
        ),
        (
            "22003",
            'value "99999Hunter" is out of range for type integer',
            'value "***" is out of range for type integer',
        ),
        ("22023", 'invalid value for parameter "work_mem": "Hunter2"', 'invalid value for parameter "work_mem": "***"'),
        ("22001", "value too long for type character varying(3)", "value too long for type character varying(3)"),
        ("42601", 'syntax error at or near "FORM"', 'syntax error at or near "FORM"'),
        ("42601", "syntax error at or near \"'Hunter2'\"", 'syntax error at or near "***"'),
        ("42P01", 'relation "orders" does not exist', 'relation "orders" does not exist'),
        (
            "23505",
            'duplicate key value violates unique constraint "a"',
            'duplicate key value violates unique constraint "a"',
        ),
        ("P0001", "no tenant is called Hunter2", "no tenant is called ***"),
        ("P0001", "the author's sentence", "the author's sentence"),
    ],
)
def test_names_are_repeated_and_values_are_not(state, text, shown):
    statement = "SELECT f('Hunter2', 'the author''s sentence is longer') FORM orders, work_mem"

    assert shown_text(text, state, [Sent(statement)]) == shown


def test_the_word_at_which_a_statement_ends_is_masked_where_it_can_be_the_password():
    said = 'syntax error at or near "Hunter2"'

    assert shown_text(said, "42601", [Sent("ALTER ROLE a PASSWORD Hunter2")]) == 'syntax error at or near "***"'
    assert shown_text(said, "42601", [Sent("SELECT 1 Hunter2 FROM")]) == said


def test_a_part_of_a_literal_that_a_message_quotes_is_masked():
    sent = Sent("SELECT dblink('host=db password = Hunter2'), 'Pa%(Hunter3)s' FROM orders")

    assert shown_text('missing "=" after "Hunter2" in string', "42601", [sent]).count("Hunter") == 0
    said = "A value is required for bind parameter 'Hunter3'"
    assert shown_text(said, "", [sent]) == "A value is required for bind parameter '***'"
    assert shown_text("no column 'orders' here", "", [sent]) == "no column 'orders' here"


def test_what_a_routine_raises_is_what_its_author_wants_to_say():
    sent = Sent("DO $$ BEGIN RAISE EXCEPTION 'there are still open orders'; END $$")

    assert shown_text("there are still open orders", "P0001", [sent]) == "there are still open orders"


def test_parameters_are_masked_however_deep_they_are():
    sent = Sent("INSERT INTO a VALUES (%(b)s)", [{"b": ("Hunter2", b"Hunter3", 7)}])

    assert shown_text("boom at Hunter2, Hunter3 and 7", "P0001", [sent]) == "boom at ***, *** and 7"


def test_a_long_message_is_cut_between_words_after_it_was_masked():
    shown = shown_text("x " * 240 + "postgresql://shop:Hunter2Hunter2Hunter2@db/x and more", "", [])

    assert len(shown) <= LIMIT + 4
    assert shown.endswith(("postgresql://***@db/x ...", "x ..."))
    assert "Hunt" not in shown


def test_the_fields_of_pg8000_are_repeated_without_the_detail():
    error = Exception({"S": "ERROR", "C": "23505", "M": "duplicate key", "D": "Key (a)=(Hunter2) already exists."})

    assert brief(error) == "duplicate key"


@given(secrets)
def test_no_literal_and_no_parameter_comes_back_in_a_message(secret):
    for literal in literals(secret).values():
        if "\\" in literal or "\n" in literal:
            continue
        for state in ("22P02", "P0001", "XX000", "23514", ""):
            text = shown_text(f'cannot take "{secret}"', state, [Sent(f"SELECT f({literal})")])
            assert not any(piece in text for piece in pieces(secret)), (literal, state, text)
        text = shown_text(f"cannot take {secret}", "P0001", [Sent("SELECT f(:a)", {"a": secret})])
        assert not any(piece in text for piece in pieces(secret))
