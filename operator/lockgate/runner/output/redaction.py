"""Keeps credentials out of everything that leaves the process: log lines, reports, exceptions.

A text is searched twice. First for the secrets of this run: the passwords and keys in the database URL and in the
environment, in every spelling in which they can come back (raw, percent-decoded, escaped by ``repr``, JSON or SQL).
Then for the places where secrets usually are, which `lockgate.masking` knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus, urlsplit

from lockgate.masking import MASK, SECRET_NAME, masked
from lockgate.report import Failure, Progress, Report

__all__ = ["Redactor", "secrets_of_environment"]

_SECRET_PARAMETER = re.compile(rf"{SECRET_NAME}|pass|key|auth", re.IGNORECASE)
"""Names of parameters in a URL; a few too many do no harm there."""
_CONNECTION_STRING = re.compile(
    r"(?P<name>[\w.]{1,60})\s{0,99}=\s{0,99}(?:'(?P<quoted>[^'\\]*(?:\\.[^'\\]*)*)(?:'|\\?\Z)|(?P<plain>[^\s'\"]+))",
    re.DOTALL,
)
"""A parameter as libpq's connection strings have it."""
_SECRET_VARIABLE = re.compile(
    r"(?:PASSWORD|PASSWD|PASSPHRASE|_PWD|_PASS|SECRET|TOKEN|CREDENTIALS?|KEY)$",
    re.IGNORECASE,
)
_OF_DRIVERS = ("PGPASSWORD", "MYSQL_PWD")
"""Variables of which a driver takes its password, whatever that looks like."""
_HAS_PASSWORD = re.compile(r"://[^\s/@]{0,200}:[^\s@]{1,500}@")
SHORTEST = 8
"""Characters of a variable's value that is taken for a secret: a shorter one may be any word."""


def secrets_of_environment(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the passwords and tokens among the variables of a process, and the URLs that contain one.

    A value that is a path or a plain word in lower-case letters is none: it would be masked in ordinary sentences.
    """
    return tuple(value for name, value in environ.items() if _is_secret(name, value))


def _is_secret(name: str, value: str) -> bool:
    if name in _OF_DRIVERS or _HAS_PASSWORD.search(value):
        return True
    return bool(_SECRET_VARIABLE.search(name)) and len(value) >= SHORTEST and not re.fullmatch(r"/\S*|[a-z_]+", value)


class Redactor:
    """Replaces what must not be seen by `MASK`; call it with any text that comes from outside."""

    def __init__(self, urls: Iterable[str] = ()) -> None:
        """Learn the secrets of these database URLs; what is no URL is taken as one secret as a whole."""
        self._known: tuple[re.Pattern[str], ...] = ()
        self._learnt: set[str] = set()
        self.learn(*urls)

    def learn(self, *urls: str) -> None:
        """Add the secrets of further URLs, for example of databases that only env.py knows."""
        new = set(urls) - self._learnt
        if not new:
            return
        self._learnt |= new
        spellings = {spelling for url in new for secret in _secrets_of(url) for spelling in _spellings(secret)}
        patterns = {pattern.pattern: pattern for pattern in (*self._known, *map(_pattern, spellings))}
        self._known = tuple(sorted(patterns.values(), key=lambda pattern: -len(pattern.pattern)))

    def known(self, text: str) -> str:
        """Return ``text`` without the secrets of this run, and otherwise as it is."""
        for pattern in self._known:
            text = pattern.sub(MASK, text)
        return text

    def __call__(self, text: str) -> str:
        """Return ``text`` without secrets."""
        return masked(self.known(text))

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
    """Return the passwords and secret-looking parameter values in a URL, or in a connection string of libpq."""
    head, separator, rest = url.partition("://")
    if not separator or "=" in head:
        return {url, *_of_connection_string(url)} if url.strip() else set()
    secrets = {password for password in _passwords(rest) if password}
    try:
        query = urlsplit(f"{head}://{rest.rpartition('@')[2]}").query
    except ValueError:
        query = rest.partition("?")[2]
    for text in {query, rest.partition("?")[2]}:
        secrets |= {value for name, value in parse_qsl(text) if _SECRET_PARAMETER.search(name)}
        pairs = (pair.partition("=") for pair in text.split("&"))
        secrets |= {raw for name, _, raw in pairs if raw and _SECRET_PARAMETER.search(name)}
        secrets |= _of_connection_string(unquote_plus(text))  # options=-c app.password=...
    return secrets


def _of_connection_string(text: str) -> set[str]:
    found = set()
    for part in _CONNECTION_STRING.finditer(text):
        if _SECRET_PARAMETER.search(part["name"]):
            value = part["plain"] or part["quoted"] or ""
            found |= {value, re.sub(r"\\(.)", r"\1", value)} - {""}
    return found


def _passwords(rest: str) -> set[str]:
    """Return what can have been meant as the password, wherever in ``user:password@host/...?...`` an @ stands.

    SQLAlchemy accepts a raw ``/``, ``?`` or ``#`` in a password, and ends it at the first ``@``: of what stands behind
    that one, the driver takes a part for the host, and shows it.
    """
    found = set()
    for user_part in (rest.rpartition("@")[0], rest.partition("?")[0].rpartition("@")[0]):
        password = user_part.partition(":")[2]
        found |= {password, *(part for part in password.split("@") if len(part) > 2)}
    return found


def _spellings(secret: str) -> set[str]:
    plain = {secret, secret.strip(), unquote(secret), unquote_plus(secret)}
    in_urls = {form for text in plain for form in _in_url(text)}
    escaped = {form for text in plain for form in (repr(text)[1:-1], json.dumps(text)[1:-1], text.replace("'", "''"))}
    escaped |= {text.replace("\\", "\\\\").replace("'", "\\'") for text in plain}
    escaped |= {json.dumps(text, ensure_ascii=False)[1:-1] for text in plain}
    return {text for text in plain | in_urls | escaped if text.strip()}


def _in_url(text: str) -> set[str]:
    """Return the text as Python, SQLAlchemy and others, which use lower-case digits, write it in a URL."""
    as_bytes = text.encode("utf-8", "surrogatepass")
    forms = {quote(as_bytes, safe=""), quote(as_bytes), quote_plus(as_bytes)}
    forms.add(re.sub(r"[:@/]", lambda found: f"%{ord(found[0]):02X}", text))
    return forms | {re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), form) for form in forms}


def _pattern(secret: str) -> re.Pattern[str]:
    """Match the secret anywhere; one of up to three characters only as a word, or hardly a sentence would survive.

    Of a secret with blanks, the beginning too, where a message was cut between two words.
    """
    if len(secret) <= 3:
        return re.compile(rf"(?<!\w){re.escape(secret)}(?!\w)")
    words = [found.start() for found in re.finditer(r" ", secret)][:20]
    cut = "".join(rf"|{re.escape(secret[:end])}(?= \.\.\.)" for end in reversed(words) if secret[:end].strip())
    return re.compile(re.escape(secret) + cut)
