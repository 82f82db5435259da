"""Splits the text of SQL into code, literals, quoted names and comments, as PostgreSQL, MySQL and SQLite read it. Pure.

A literal or a comment without an end goes to the end of the text: a statement may be shown cut off. Each character is
looked at a bounded number of times, because one statement can be megabytes. The lexer follows PostgreSQL's scan.l, with
standard_conforming_strings as it is by default, and MySQL's without NO_BACKSLASH_ESCAPES and ANSI_QUOTES.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = [
    "CODE",
    "COMMENT",
    "LITERAL",
    "NAME",
    "Token",
    "statements",
    "tokens",
    "without_comments",
    "without_literals",
]

CODE, LITERAL, NAME, COMMENT = "code", "literal", "name", "comment"


class Token(NamedTuple):
    """A part of a text; one after the other they are the whole text."""

    kind: str
    """`CODE`, `LITERAL`, `NAME` (in quotes) or `COMMENT`."""
    text: str


# As what they are not: a class that names all letters of Unicode takes long to compile.
_LETTER = r"[^\x00-\x40\x5b-\x5e\x60\x7b-\x7f]"
_LETTER_OR_DIGIT = r"[^\x00-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]"
_IN_WORD = r"[^\x00-\x23\x25-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]"
"""A letter, a digit or a dollar."""
_IN_WORD_OR_QUOTE = r"[^\x00-\x21\x23\x25\x28-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]"
"""The same, or a quote, or the & of U&'..'."""
_HARMLESS = r"[\x00-\x21%&(-,.:-@\\-^{-\x7f]"
"""What is in no word, and begins nothing."""
_WORD = rf"{_LETTER}{_IN_WORD}*"
_PLAIN = r"'[^']*(?:''[^']*)*(?:'|\Z)"
_ESCAPED = r"'[^'\\]*(?:(?:\\.|'')[^'\\]*)*(?:'|\\?\Z)"
_DOUBLE = r'"[^"]*(?:""[^"]*)*(?:"|\Z)'
_DOUBLE_ESCAPED = r'"[^"\\]*(?:(?:\\.|"")[^"\\]*)*(?:"|\\?\Z)'
_BACKQUOTED = r"`[^`]*(?:``[^`]*)*(?:`|\Z)"
# Words are read whole, for the dollars in them and for the E before a quote; whatever follows them cannot be a letter.
_RUN = rf"(?:{_HARMLESS}+|{_WORD}(?!{_IN_WORD_OR_QUOTE})|[0-9]+(?![0-9])){{1,500}}"

_POSTGRESQL = (
    rf"(?P<code>{_RUN})"
    rf"|(?P<escaped>[eE]{_ESCAPED})|(?P<plain>(?:[bBxXnN]|[uU]&)?{_PLAIN})|(?P<name>(?:[uU]&)?{_DOUBLE})"
    rf"|(?P<dollar>\$(?:{_LETTER}{_LETTER_OR_DIGIT}*)?\$)|(?P<line>--[^\n\r]*)|(?P<block>/\*)"
    rf"|(?P<other>{_WORD}|\$[0-9]+|.)"
)
_MYSQL = (
    rf"(?P<code>{_RUN})"
    rf"|(?P<plain>[nN]?{_ESCAPED}|{_DOUBLE_ESCAPED})|(?P<name>{_BACKQUOTED})"
    r"|(?P<line>#[^\n]*|--(?=[\s\x00-\x1f]|\Z)[^\n]*)|(?P<comment>/\*M?!(?:[0-9]{5,6})?)|(?P<block>/\*)"
    rf"|(?P<other>{_WORD}|.)"
)
_SQLITE = (
    rf"(?P<code>{_RUN})"
    rf"|(?P<plain>[xX]?{_PLAIN})|(?P<name>{_DOUBLE}|{_BACKQUOTED}|\[[^\]]*(?:\]|\Z))|(?P<line>--[^\n]*)|(?P<block>/\*)"
    rf"|(?P<other>{_WORD}|.)"
)
_TOKENS = {"mysql": _MYSQL, "mariadb": _MYSQL, "sqlite": _SQLITE}
_QUOTING = re.compile(r"['\"$`#\[]|--|/\*")
_KINDS = {"escaped": LITERAL, "plain": LITERAL, "name": NAME, "line": COMMENT}
_NESTED = re.compile(r"/\*|\*/")
_BLANKS = re.compile(r"[ \t\n\r\f\v]+|--[^\n\r]*")
_CONTINUED = {"escaped": re.compile(_ESCAPED, re.DOTALL), "plain": re.compile(_PLAIN, re.DOTALL)}


@functools.cache  # most processes read the SQL of one database, and many of none
def _pattern(dialect: str) -> re.Pattern[str]:
    return re.compile(_TOKENS.get(dialect, _POSTGRESQL), re.DOTALL)


def tokens(text: str, dialect: str = "postgresql") -> Iterator[Token]:
    """Yield the tokens of a text, in order; neighbours of code are one."""
    if not _QUOTING.search(text):
        if text:
            yield Token(CODE, text)
        return
    begun = 0
    for kind, start, end in _spans(text, dialect):
        if kind == CODE:
            continue
        if start > begun:
            yield Token(CODE, text[begun:start])
        yield Token(kind, text[start:end])
        begun = end
    if begun < len(text):
        yield Token(CODE, text[begun:])


def _spans(text: str, dialect: str) -> Iterator[tuple[str, int, int]]:
    pattern, is_postgresql = _pattern(dialect), dialect not in _TOKENS
    position, length = 0, len(text)
    while position < length:
        found = pattern.match(text, position)
        assert found is not None  # noqa: S101  # any character is a token
        group, start, end = found.lastgroup or "", position, found.end()
        kind = _KINDS.get(group, CODE)
        if group == "dollar":
            kind, end = LITERAL, _end_of(text, found["dollar"], end)
        elif group == "block":
            kind, end = COMMENT, _end_of_comment(text, end, nested=is_postgresql)
        elif kind == LITERAL and is_postgresql:
            end = _end_of_continued(text, end, _CONTINUED[group])
        yield kind, start, end
        position = end


def _end_of(text: str, mark: str, position: int) -> int:
    found = text.find(mark, position)
    return len(text) if found < 0 else found + len(mark)


def _end_of_comment(text: str, position: int, *, nested: bool) -> int:
    """Return where a block comment ends whose beginning ends at ``position``."""
    if not nested:
        return _end_of(text, "*/", position)
    depth = 1
    for found in _NESTED.finditer(text, position):
        depth += 1 if found[0] == "/*" else -1
        if depth == 0:
            return found.end()
    return len(text)


def _end_of_continued(text: str, position: int, quoted: re.Pattern[str]) -> int:
    """Return where a literal ends that may go on in further lines, each part in quotes of its own."""
    while True:
        blank, has_newline = position, False
        while found := _BLANKS.match(text, blank):
            has_newline = has_newline or "\n" in found[0] or "\r" in found[0]
            blank = found.end()
        if not has_newline or not text.startswith("'", blank):
            return position
        part = quoted.match(text, blank)
        assert part is not None  # noqa: S101  # it begins with a quote, and the end of the text ends it
        position = part.end()


def statements(text: str, dialect: str = "postgresql") -> Iterator[list[Token]]:
    """Yield the tokens of each statement in a text, without the semicolon behind it; a blank one too."""
    statement: list[Token] = []
    for token in tokens(text, dialect):
        if token.kind != CODE:
            statement.append(token)
            continue
        first, *others = token.text.split(";")
        statement.append(Token(CODE, first))
        for part in others:
            yield statement
            statement = [Token(CODE, part)]
    yield statement


def without_comments(statement: str, dialect: str = "postgresql") -> str:
    """Return a statement with a blank in the place of each comment."""
    if "--" not in statement and "/*" not in statement and "#" not in statement:
        return statement
    return _joined(statement, dialect, lambda token: " " if token.kind == COMMENT else token.text)


def without_literals(statement: str, dialect: str = "postgresql") -> str:
    """Return a statement with a blank in the place of each literal, function body and quoted name."""
    return _joined(statement, dialect, lambda token: " " if token.kind in (LITERAL, NAME) else token.text)


def _joined(statement: str, dialect: str, shown: Callable[[Token], str]) -> str:
    return "".join(map(shown, tokens(statement, dialect)))
