"""Keeps credentials out of everything that leaves the process: log lines, reports, exceptions.

A text is searched twice. First for the secrets of this run: the passwords and keys in the database URL, in every
spelling in which they can come back (raw, percent-decoded, escaped by ``repr`` or JSON). Then for the places where
secrets usually are: the user part of any URL, the query of a web address, ``password=`` in a connection string,
``PASSWORD '...'`` in SQL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import parse_qsl, unquote, unquote_plus, urlsplit

from lockgate.report import Failure, Progress, Report

__all__ = ["MASK", "Redactor", "without_values"]

MASK = "***"

_SECRET_NAME = re.compile(r"pass|pwd|secret|token|key|credential|auth", re.IGNORECASE)
# None of these begins with a repetition, nor has an unbounded one inside a word: what a database, an env.py or a
# revision says can be a word of megabytes, and must not take the square of its length.
_URL_USER = re.compile(r"(?P<scheme>[a-z0-9+.-]://)[^\s/@'\"]+@", re.IGNORECASE)
_WEB_QUERY = re.compile(r"(?P<address>https?://[^\s?'\"]{1,500}\?)(?!\*)[^\s'\"]+", re.IGNORECASE)
_ASSIGNMENT = re.compile(
    r"(?P<name>(?:password|passwd|pwd|secret|token)\w{0,60}[\"']?\s{0,99}[=:]\s{0,99})('[^']*'|\"[^\"]*\"|[^\s&,;'\")]+)",
    re.IGNORECASE,
)
_SQL_PASSWORD = re.compile(r"(?P<word>\bPASSWORD\s+)'(?:[^']|'')*'", re.IGNORECASE)
_SUSPECT = re.compile(r"://|pass|pwd|secret|token", re.IGNORECASE)
"""What each of these contains, and most texts do not."""

_VALUE = re.compile(r"'(?:[^']|'')*(?:'|$)|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|$)", re.DOTALL)
_MYSQL_VALUE = re.compile(r"""(?P<q>['"])(?:\\.|(?P=q){2}|(?!(?P=q))[^\\])*(?:(?P=q)|\\?$)""", re.DOTALL)


def without_values(statement: str, *, mysql: bool = False) -> str:
    """Return a statement of another session in one line, and each literal in it as ``'***'``, also one that is cut off.

    Drivers that put parameters into the text (psycopg2, PyMySQL) make them visible to whoever may see the statement.
    ``mysql``: double quotes hold values too, not names, and a backslash escapes.
    """
    return " ".join((_MYSQL_VALUE if mysql else _VALUE).sub(f"'{MASK}'", statement).split())


class Redactor:
    """Replaces what must not be seen by `MASK`; call it with any text that comes from outside."""

    def __init__(self, urls: Iterable[str] = ()) -> None:
        """Learn the secrets of these database URLs; what is no URL is taken as one secret as a whole."""
        self._known: tuple[re.Pattern[str], ...] = ()
        self.learn(*urls)

    def learn(self, *urls: str) -> None:
        """Add the secrets of further URLs, for example of databases that only env.py knows."""
        spellings = {spelling for url in urls for secret in _secrets_of(url) for spelling in _spellings(secret)}
        patterns = {pattern.pattern: pattern for pattern in (*self._known, *map(_pattern, spellings))}
        self._known = tuple(sorted(patterns.values(), key=lambda pattern: -len(pattern.pattern)))

    def __call__(self, text: str) -> str:
        """Return ``text`` without secrets."""
        for pattern in self._known:
            text = pattern.sub(MASK, text)
        if not _SUSPECT.search(text):
            return text
        text = _URL_USER.sub(rf"\g<scheme>{MASK}@", text)
        text = _WEB_QUERY.sub(rf"\g<address>{MASK}", text)
        text = _SQL_PASSWORD.sub(rf"\g<word>'{MASK}'", text)
        return _ASSIGNMENT.sub(rf"\g<name>{MASK}", text)

    def progress(self, progress: Progress) -> Progress:
        """Return the progress with its free texts redacted; revision ids are no free text."""
        return replace(
            progress,
            step=self(progress.step),
            statement=self(progress.statement),
            waiting_for=self(progress.waiting_for),
        )

    def report(self, report: Report) -> Report:
        """Return the report with its free texts redacted."""
        failure = report.failure
        return replace(
            report,
            message=self(report.message),
            warnings=tuple(map(self, report.warnings)),
            applied=tuple(replace(step, message=self(step.message)) for step in report.applied),
            undone=tuple(replace(step, message=self(step.message)) for step in report.undone),
            checks=tuple(replace(check, message=self(check.message)) for check in report.checks),
            failure=failure and self._failure(failure),
        )

    def _failure(self, failure: Failure) -> Failure:
        return replace(
            failure,
            statement=self(failure.statement),
            error=self(failure.error),
            committed=tuple(map(self, failure.committed)),
        )


def _secrets_of(url: str) -> set[str]:
    """Return the passwords and secret-looking parameter values in a URL."""
    head, separator, rest = url.partition("://")
    if not separator:
        return {url} if url.strip() else set()
    # Not urlsplit: SQLAlchemy accepts a raw "@", "/" or "#" in a password, and splits at the last "@" of the authority.
    secrets = {password for password in _passwords(rest) if password}
    try:
        query = urlsplit(f"{head}://{rest.rpartition('@')[2]}").query
    except ValueError:
        query = rest.partition("?")[2]
    for name, value in parse_qsl(query, keep_blank_values=False):
        if _SECRET_NAME.search(name):
            secrets.add(value)
    for pair in query.split("&"):
        name, _, raw = pair.partition("=")
        if _SECRET_NAME.search(name) and raw:
            secrets.add(raw)
    return secrets


def _passwords(rest: str) -> set[str]:
    """Return what can have been meant as the password, wherever in ``user:password@host/...?...`` an @ stands."""
    found = set()
    for user_part in (rest.rpartition("@")[0], rest.partition("?")[0].rpartition("@")[0]):
        found.add(user_part.partition(":")[2])
    return found


def _spellings(secret: str) -> set[str]:
    plain = {secret, unquote(secret), unquote_plus(secret)}
    escaped = {form for text in plain for form in (repr(text)[1:-1], json.dumps(text)[1:-1])}
    return {text for text in plain | escaped if text}


def _pattern(secret: str) -> re.Pattern[str]:
    """Match the secret anywhere; one of up to three characters only as a word, or hardly a sentence would survive."""
    if len(secret) > 3:
        return re.compile(re.escape(secret))
    return re.compile(rf"(?<!\w){re.escape(secret)}(?!\w)")
