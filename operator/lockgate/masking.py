"""Masks the places of a text where secrets usually stand: URLs, assignments, commands, SQL, a database's errors. Pure.

Runner and operator share it. Neither knows here which secrets a run has: `lockgate.runner.output.redaction` replaces
those first, and calls this afterwards. A text is masked before anything else is done to it: half of a secret, left by
a cut, would not be recognised.
"""

from __future__ import annotations

import re
from functools import cached_property

__all__ = ["MASK", "SECRET_NAME", "masked"]

MASK = "***"

NAMES = (
    *("password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "credential"),
    r"(?:api|access|private|encryption|signing|account|shared|storage)[_ -]?key",
)
SECRET_NAME = f"(?:{'|'.join(NAMES)})"
"""Regular expression: what the name of a secret contains."""


class _Pattern:
    """A regular expression that is compiled when it is first needed: most processes have nothing to mask."""

    def __init__(self, text: str, flags: int = 0) -> None:
        self._text, self._flags = text, flags

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        """The compiled expression."""
        return re.compile(self._text, self._flags)


# None of these begins with a repetition, nor has one without a bound inside a word, and where the end of a value is
# looked for, the end of the text is one: a word of megabytes must not take the square of its length.
_QUOTED = r"\\?(?:\"[^\"\\]*(?:\\.[^\"\\]*)*(?:\"|\\?\Z)|'[^'\\]*(?:(?:\\.|'')[^'\\]*)*(?:'|\\?\Z))"
"""A value in quotes, as JSON, Python and the connection strings of libpq write it."""
_ASSIGNMENT = _Pattern(
    rf"(?P<before>{SECRET_NAME}(?!\w{{0,60}}(?:Error|Exception)\b)\w{{0,60}}\\?[\"']?\s{{0,99}}(?:=>|[=:])\s{{0,99}})(?:{_QUOTED}|[^\s&,;'\")\]}}]+)",
    re.IGNORECASE | re.DOTALL,
)
_OPTION = _Pattern(
    rf"(?P<before>\s--?[\w-]{{0,60}}{SECRET_NAME}[\w-]{{0,60}}\s{{1,9}})(?:{_QUOTED}|[^\s'\"-][^\s'\"]*)",
    re.IGNORECASE | re.DOTALL,
)
_SHORT_OPTION = _Pattern(
    r"(?P<before>\b(?:mysql|mariadb)[\w-]{0,20}[^\n]{0,200}?\s-p|\bcurl\b[^\n]{0,200}?\s(?:-u|--user)[\s=]{0,9}[^\s:]{1,99}:)"
    r"[^\s'\"]+",
    re.IGNORECASE,
)
_HEADER = _Pattern(
    r"(?P<before>\bauthorization[\"']?\s{0,9}[:=]\s{0,9}[\"']?(?:(?:basic|bearer|digest|token|negotiate|apikey)\s{1,9})?)[^\s,;'\"]+"
    r"|(?P<bearer>\bbearer\s{1,9})[\w.~+/=-]{16,}",
    re.IGNORECASE,
)
_GAP = r"(?:\s{0,99}(?:/\*[^*]{0,99}\*/|--[^\n]{0,99}\n)){0,9}\s{0,99}"
"""What SQL allows between two words."""
_SQL_PLAIN = r"'[^']*(?:''[^']*)*(?:'|\Z)"
_SQL_ESCAPED = r"'[^'\\]*(?:(?:''|\\.)[^'\\]*)*(?:'|\\?\Z)"
_SQL_LITERALS = tuple(
    _Pattern(literal, re.IGNORECASE | re.DOTALL)
    for literal in (
        rf"(?:[en]|u&)?{_SQL_PLAIN}(?:{_GAP}{_SQL_PLAIN}){{0,99}}",
        rf"(?:[en]|u&)?{_SQL_ESCAPED}(?:{_GAP}{_SQL_ESCAPED}){{0,99}}",
        r"(?:u&)?\"[^\"]*(?:\"|\Z)",
        r"\$(?P<tag>(?:[^\W\d]\w{0,60})?)\$.*?(?:\$(?P=tag)\$|\Z)",
    )
)
"""Whether a backslash escapes is not known here: of the ends that a literal can have, the last one counts."""
_SQL_PASSWORD = _Pattern(
    rf"(?<![\w'\"])(?:PASSWORD|IDENTIFIED{_GAP}BY"
    rf"|IDENTIFIED{_GAP}(?:WITH|VIA)\s{{1,99}}[\w'\"`]{{1,60}}\s{{1,99}}(?:AS|BY|USING)){_GAP}(?=(?:[en]|u&)?['\"$])",
    re.IGNORECASE,
)
_ROLE_PASSWORD = _Pattern(
    r"(?P<before>\b(?:CREATE|ALTER)\s{1,99}(?:ROLE|USER)\s[^;'\"$]{1,500}?\bPASSWORD\s{1,99})(?!NULL\b)[^\s'\"$;*]+",
    re.IGNORECASE,
)
"""A password that somebody forgot to quote, which makes a syntax error."""
_WEB_QUERY = _Pattern(r"(?P<before>https?://[^\s?'\"]{1,500}\?)(?!\*)[^\s'\"]+", re.IGNORECASE)
_URL_END = _Pattern(r"\s")

_PARAMETERS = _Pattern(r"(?P<before>\[parameters: ).*?(?:(?=\](?:\s{0,9}\(Background|\n|\Z))|\Z)", re.DOTALL)
"""How SQLAlchemy shows the parameters of a statement."""
_STATEMENT = _Pattern(r"\[SQL: .*?(?:(?=\]\s{0,9}(?:\[parameters|\(Background|\n|\Z))|\Z)", re.DOTALL)
_ANY_LITERAL = _Pattern(r"(?=['$])")
"""How it shows the statement."""
_DETAIL = _Pattern(r"(?P<before>\b(?:DETAIL|CONTEXT|STATEMENT|LINE \d{1,9}): {1,9})[^\n]+")
"""Where PostgreSQL's drivers show values of a row, or the statement."""
_ROW = _Pattern(
    r"(?P<before>\bFailing row contains |\([^()\n]{1,500}\)="
    r"|\binvalid (?:input (?:syntax |value )?|literal )for [^:\n]{1,200}: "
    r"|\bcould not convert string to \w{1,20}: |\bInvalid isoformat string: )"
    r"(?:\([^\n]*\)|\([^\n]*|\"[^\n]*\"|\"[^\n]*|'[^\n]*'|'[^\n]*)"
)
"""Where PostgreSQL and Python quote a value."""
_SUSPECT = _Pattern(rf"://|{SECRET_NAME}|identified|authorization|bearer|mysql|mariadb|curl\b", re.IGNORECASE)
"""What each of the first contains, and most texts do not."""
_SUSPECT_ERROR = _Pattern(
    r"\[SQL: |\[parameters: |DETAIL: |CONTEXT: |STATEMENT: |LINE \d|Failing row|\)=\("
    r"|invalid (?:input|literal)|could not convert|Invalid iso"
)


def masked(text: str) -> str:
    """Return the text with `MASK` in the place of whatever is likely to be a secret."""
    if _SUSPECT.compiled.search(text):
        text = _without_literals(_without_users(text), _SQL_PASSWORD)
        for pattern in (_WEB_QUERY, _ROLE_PASSWORD, _OPTION, _SHORT_OPTION, _HEADER, _ASSIGNMENT):
            text = pattern.compiled.sub(_masked_value, text)
    if _SUSPECT_ERROR.compiled.search(text):
        text = _STATEMENT.compiled.sub(lambda found: _without_literals(found[0], _ANY_LITERAL), text)
        for pattern in (_PARAMETERS, _DETAIL, _ROW):
            text = pattern.compiled.sub(_masked_value, text)
    return text


def _masked_value(found: re.Match[str]) -> str:
    before = next(text for text in found.groups() if text is not None)
    return f"{before}({MASK})" if found.re is _ROW.compiled and not before.endswith(": ") else f"{before}{MASK}"


def _without_literals(text: str, before: _Pattern) -> str:
    """Mask each literal of SQL that stands behind what ``before`` finds."""
    parts, position = [], 0
    for found in before.compiled.finditer(text):
        if found.start() < position:
            continue
        ends = [literal.end() for kind in _SQL_LITERALS if (literal := kind.compiled.match(text, found.end()))]
        if ends:
            parts += [text[position : found.end()], f"'{MASK}'"]
            position = max(ends)
    return "".join((*parts, text[position:]))


def _without_users(text: str) -> str:
    """Mask in each URL what stands before its last ``@``: a password may contain ``/``, ``?``, ``#`` and ``@``."""
    parts, position = [], 0
    while (start := text.find("://", position)) >= 0:
        start += 3
        ended = _URL_END.compiled.search(text, start)
        end = ended.start() if ended else len(text)
        at = text.rfind("@", start, _closing_quote(text, start, end))
        parts.append(text[position:start])
        if at > start:
            parts.append(MASK)
            start = at
        parts.append(text[start:end])
        position = end
    parts.append(text[position:])
    return "".join(parts)


def _closing_quote(text: str, start: int, end: int) -> int:
    """Return where the quotes end in which a URL stands, or the word in which it does."""
    scheme = start - 3
    while scheme > 0 and (text[scheme - 1].isalnum() or text[scheme - 1] in "+.-") and start - scheme < 40:
        scheme -= 1
    quote = text[scheme - 1] if scheme > 0 else ""
    closing = text.find(quote, start, end) if quote in ("'", '"', "`") else -1
    return closing if closing >= 0 else end
