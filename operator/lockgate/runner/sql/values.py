"""What may be shown of a statement: literals are values of the migration's data, and some of them passwords. Pure.

A statement that runs, failed or is recorded is shown without any literal. A plan is read by people who want to know
what will be done: it keeps literals, but for those of statements that set, carry or name credentials.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lockgate.masking import MASK, SECRET_NAME
from lockgate.runner.sql.lexer import CODE, COMMENT, LITERAL, NAME, Token, statements, tokens

__all__ = ["code_of", "literal_values", "masked_plan", "masked_values", "without_values"]

_MASKED = f"'{MASK}'"
_ROUTINE = re.compile(r"\s*(?:DO\b|CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\b)", re.IGNORECASE)
_BEFORE_BODY = re.compile(r"\b(?:AS|DO(?:\s+LANGUAGE\s+\w{1,63})?)\s*$", re.IGNORECASE)
_LANGUAGE = re.compile(r"\bLANGUAGE\s+(\w+)", re.IGNORECASE)
_READABLE = ("sql", "plpgsql")
"""Languages whose literals the lexer knows; what is written in another one is a value as a whole."""
_CREDENTIALS = re.compile(
    rf"{SECRET_NAME}|\bIDENTIFIED\b|\bUSER\s+MAPPING\b|\bSERVER\b|\bSUBSCRIPTION\b|\bCONNECTION\b|\bdblink|\bPROGRAM\b"
    r"|crypt|\bhmac\b|\bset_config\b|\bSET\s+(?:LOCAL\s+|SESSION\s+)?\w{1,63}\.\w|\bMASTER\b|\bREPLICATION\b",
    re.IGNORECASE,
)


def without_values(statement: str, dialect: str = "postgresql") -> str:
    """Return a statement in one line, and each literal in it as ``'***'``, also one that is cut off."""
    if dialect not in ("mysql", "mariadb") and "'" not in statement and "$" not in statement:
        return " ".join(statement.split())
    shown = (_MASKED if token.kind == LITERAL else token.text for token in tokens(statement, dialect))
    return " ".join("".join(shown).split())


def masked_values(text: str, dialect: str = "postgresql") -> str:
    """Return statements as they are written, with each literal as ``'***'``; of a routine's body the code is kept."""
    return ";".join("".join(_masked(statement, dialect)) for statement in statements(text, dialect))


def masked_plan(text: str, dialect: str = "postgresql") -> str:
    """Return statements as they are written, without the literals of those that have to do with credentials."""
    return ";".join(
        "".join(_masked(statement, dialect) if _has_credentials(statement) else (token.text for token in statement))
        for statement in statements(text, dialect)
    )


def _has_credentials(statement: Sequence[Token]) -> bool:
    return bool(_CREDENTIALS.search("".join(token.text for token in statement if token.kind != COMMENT)))


def _masked(statement: Sequence[Token], dialect: str) -> Iterator[str]:
    bodies = _bodies(statement)
    for number, token in enumerate(statement):
        if token.kind != LITERAL:
            yield token.text
        elif number in bodies:
            mark, body, end = _between_dollars(token.text)
            yield f"{mark}{masked_values(body, dialect)}{end}"
        else:
            yield _MASKED


def _bodies(statement: Sequence[Token]) -> set[int]:
    """Return which tokens are the code of a routine, in a language whose literals the lexer knows."""
    code = "".join(token.text if token.kind == CODE else " " for token in statement)
    language = _LANGUAGE.search(code)
    if not _ROUTINE.match(code) or (language and language[1].lower() not in _READABLE):
        return set()
    found, before = set(), ""
    for number, token in enumerate(statement):
        if token.kind == LITERAL and token.text.startswith("$") and _BEFORE_BODY.search(before):
            found.add(number)
        if token.kind != COMMENT:
            before = token.text[-200:] if token.kind == CODE else ""
    return found


def _between_dollars(literal: str) -> tuple[str, str, str]:
    mark = literal[: literal.index("$", 1) + 1]
    inside = literal[len(mark) :]
    return mark, inside.removesuffix(mark), mark if inside.endswith(mark) else ""


def code_of(statement: str, dialect: str = "postgresql") -> str:
    """Return a statement without its literals and comments: what the database may name in an error."""
    return " ".join(token.text for token in tokens(statement, dialect) if token.kind in (CODE, NAME))


def literal_values(text: str, dialect: str = "postgresql") -> Iterator[str]:
    """Yield what the literals of statements say, each in the spellings in which a message can repeat it.

    Without the code of routines: what an author lets it say in an error is said on purpose.
    """
    for statement in statements(text, dialect):
        bodies = _bodies(statement)
        for number, token in enumerate(statement):
            if token.kind == LITERAL and number not in bodies:
                yield from _spellings(token.text)


def _spellings(literal: str) -> Iterator[str]:
    if literal.startswith("$"):
        yield _between_dollars(literal)[1]
        return
    quote = '"' if literal.startswith('"') else "'"
    inside = literal[literal.index(quote) + 1 :].removesuffix(quote)
    yield inside
    if quote in inside:
        yield inside.replace(quote * 2, quote)
    if "\\" in inside:
        yield re.sub(r"\\(.)", r"\1", inside, flags=re.DOTALL)
