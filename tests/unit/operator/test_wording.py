"""Texts that reach a status."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lockgate.decide.wording import meaningful, one_line, plural, summary
from lockgate.masking import masked


@given(st.text(), st.integers(min_value=2, max_value=200))
def test_a_text_is_one_line_of_bounded_length(text: str, limit: int) -> None:
    line = one_line(text, limit)

    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
    assert "\n" not in line


def test_of_a_traceback_only_a_failed_import_is_told() -> None:
    text = "Traceback (most recent call last):\n  File 'env.py'\nModuleNotFoundError: No module named 'shop'\n"

    assert meaningful(text) == "ModuleNotFoundError: No module named 'shop'"
    assert meaningful("Traceback (most recent call last):\nValueError: postgresql://u:p@db\n") == ""
    assert meaningful("my password is hunter2") == ""


def test_revisions_are_shortened_for_a_column() -> None:
    assert summary([]) == ""
    assert summary(["a" * 40]) == "a" * 12
    assert summary(["a", "b", "c", "d"]) == "a,b+2"


def test_counts_agree_with_their_noun() -> None:
    assert (plural(1, "pod"), plural(0, "pod"), plural(3, "pod")) == ("1 pod", "0 pods", "3 pods")


def test_passwords_that_a_statement_sets_are_masked() -> None:
    assert (
        masked("ALTER ROLE app PASSWORD 'it''s' VALID UNTIL 'now'") == "ALTER ROLE app PASSWORD '***' VALID UNTIL 'now'"
    )
    assert masked("CREATE ROLE app LOGIN password E'x") == "CREATE ROLE app LOGIN password '***'"
    assert masked("ALTER TABLE password ADD x text") == "ALTER TABLE password ADD x text"
