"""What may be repeated of the words of an error: no value of a row, no literal, no parameter, no password. Pure.

PostgreSQL quotes values and names in the same way. A value is quoted by errors about data (class 22) and about syntax;
elsewhere a quoted word is a name, unless the statement has it as a literal or a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lockgate.masking import MASK, masked
from lockgate.runner.sql.values import code_of, literal_values

__all__ = ["LIMIT", "shown_text"]

LIMIT = 500
"""Characters of what is repeated of a message."""
SHORTEST = 4
"""Characters of a value that is looked for in a message: shorter ones are in every sentence."""
LONGEST_STATEMENT = 1_000_000
"""Characters of a statement in which literals are looked for."""

_OF_SYNTAX = ("42601", "42602")
_OPENING = '"\u00bb\u00ab\u201c\u201e\u201a\u2039\u300c'
_CLOSING = '"\u00ab\u00bb\u201c\u201d\u2018\u203a\u300d'
"""Quotes of the languages in which PostgreSQL speaks."""
_QUOTED = re.compile(rf"[{_OPENING}](?P<inside>[^{_OPENING}{_CLOSING}]*)[{_CLOSING}]")
_BEFORE_VALUE = re.compile(rf"[:\uff1a] (?=[{_OPENING}])")
_PART = re.compile(r"(?P<quote>['\"])(?P<part>[^'\"\n]{4,})(?P=quote)")
_AROUND = re.compile(rf"[{_OPENING}](?P<inside>.*)[{_CLOSING}]", re.DOTALL)
_CREDENTIALS = re.compile(r"\b(?:PASSWORD|IDENTIFIED|SECRET|TOKEN)\b", re.IGNORECASE)


def shown_text(text: str, state: str, errors: Iterable[BaseException], dialect: str = "postgresql") -> str:
    """Return what may be repeated of ``text``, which an error with this SQLSTATE says, cut to `LIMIT`.

    ``errors``: the exception and those behind it; SQLAlchemy's know the statement and its parameters.
    """
    statement, values = _sent(errors, dialect)
    code = code_of(statement, dialect) if statement else None
    text = _without_values(text, values, code or "", keeps_names=_is_about_names(state))
    if state.startswith("22"):
        text = _without_quoted(text, code)
    elif state in _OF_SYNTAX:
        text = _AROUND.sub(lambda found: _word(found, code), text)
    return _cut(masked(text))


def _without_values(text: str, values: list[str], code: str, *, keeps_names: bool) -> str:
    """Mask what was sent as a value, and what is quoted of one; ``code`` is none, nor is a name between quotes."""
    for value in values:
        if value in text and value not in code:
            whole = rf"(?<![{_OPENING}]){re.escape(value)}|{re.escape(value)}(?![{_CLOSING}])"
            text = re.sub(whole, MASK, text) if keeps_names else text.replace(value, MASK)
    if keeps_names:
        return text

    def quoted(found: re.Match[str]) -> str:
        part = found["part"]
        is_value = part not in code and any(part in value for value in values)
        return f"{found['quote']}{MASK}{found['quote']}" if is_value else found[0]

    return _PART.sub(quoted, text)


def _without_quoted(text: str, code: str | None) -> str:
    """Mask what an error about data quotes; what stands before a colon with a value can be the name of a setting."""
    colon = _BEFORE_VALUE.search(text)
    if colon is None:
        return _AROUND.sub(lambda found: _named(found, code), text)
    names, value = text[: colon.end()], text[colon.end() :]
    return _QUOTED.sub(lambda found: _named(found, code), names) + _AROUND.sub(f'"{MASK}"', value)


def _is_about_names(state: str) -> bool:
    """Say whether the error is about an object that is there or is not: what it quotes is the name of one."""
    return state[:2] in ("42", "3F", "3D") and state not in _OF_SYNTAX


def _named(found: re.Match[str], code: str | None) -> str:
    """Keep what the code of the statement has too: a name, such as that of a setting."""
    inside = found["inside"]
    return found[0] if inside == MASK or (code is not None and _is_word_of(inside, code)) else f'"{MASK}"'


def _word(found: re.Match[str], code: str | None) -> str:
    """Keep the word at which a statement cannot be read, unless it can be a literal or a password."""
    inside = found["inside"]
    if code is None:
        plain = re.fullmatch(r"[A-Za-z_]\w*|[^\w\s'\"$]{1,3}", inside) is not None
    else:
        plain = not _CREDENTIALS.search(code) and _is_word_of(inside, code)
    return found[0] if plain else f'"{MASK}"'


def _is_word_of(word: str, code: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", code, re.IGNORECASE) is not None


def _sent(errors: Iterable[BaseException], dialect: str) -> tuple[str, list[str]]:
    """Return the statement that failed, and the values that were sent with it, the longest first."""
    statement, values = "", set()
    for error in errors:
        text = getattr(error, "statement", None)
        if isinstance(text, str) and text:
            statement = statement or text[:LONGEST_STATEMENT]
            for value in _flat(getattr(error, "params", None)):
                values |= {value, repr(value)[1:-1]}
    values |= set(literal_values(statement, dialect))
    return statement, sorted((value for value in values if len(value) >= SHORTEST), key=len, reverse=True)


def _flat(value: Any) -> Iterator[str]:
    """Yield the texts among parameters, however deep they are."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (bytes, bytearray, memoryview)):
        yield bytes(value).decode("utf-8", "replace")
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _flat(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)


def _cut(text: str) -> str:
    """Cut between words, so that a secret of one word is there as a whole or not at all."""
    if len(text) <= LIMIT:
        return text
    return f"{text[:LIMIT].rpartition(' ')[0]} ..."
