"""A database URL, read without SQLAlchemy, as SQLAlchemy reads it. Pure.

Lockgate's own connections speak to the driver itself where they can: a process that only waits, or finds nothing to do,
then imports a driver and no SQLAlchemy, which takes longer to import than all the rest takes. What is not plain here
(several hosts, options of a driver that SQLAlchemy has to know about) is left to SQLAlchemy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from lockgate.errors import InvalidConfiguration

__all__ = [
    "FOR_LIBPQ",
    "Address",
    "direct_address",
    "has_stray_at",
    "misspelling",
    "query_of_asyncpg",
    "read_address",
]

# The expression of sqlalchemy.engine.url.
_URL = re.compile(
    r"(?P<name>[\w\+]+)://"
    r"(?:(?P<username>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:(?:\[(?P<ipv6>[^/\?]+)\]|(?P<host>[^/:\?]+))?(?::(?P<port>[^/\?]*))?)?"
    r"(?:/(?P<database>[^\?]*))?"
    r"(?:\?(?P<query>.*))?"
)

_FOR_DSN = (
    *("sslrootcert", "sslcert", "sslkey", "sslcrl", "sslpassword", "ssl_min_protocol_version"),
    *("ssl_max_protocol_version", "target_session_attrs", "passfile", "krbsrvname", "gsslib"),
)
"""What asyncpg understands in a DSN as libpq does, and its connect() does not take as an argument, or as another."""
_LIBPQ_ONLY = (
    *("connect_timeout", "application_name", "options", "client_encoding", "fallback_application_name", "gssencmode"),
    *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "replication"),
    *("channel_binding", "require_auth", "requirepeer", "requiressl", "sslcompression", "sslsni", "sslcertmode"),
    *("sslcrldir", "sslnegotiation", "sslkeylogfile", "gssdelegation", "load_balance_hosts", "min_protocol_version"),
    *("max_protocol_version", "scram_client_key", "scram_server_key"),
)
"""What libpq understands in a URL, and asyncpg does not."""
FOR_LIBPQ = frozenset(("sslmode", *_FOR_DSN, *_LIBPQ_ONLY))
"""What may stand in a URL that is written for libpq, and is nothing that SQLAlchemy's dialect has to read."""

_DRIVERS = {"psycopg": "psycopg", "psycopg_async": "psycopg", "psycopg2": "psycopg2", "asyncpg": "asyncpg"}
"""By the name in a URL, the module that is spoken to directly."""


@dataclass(frozen=True)
class Address:
    """Where a database is, and as whom; ``driver`` is empty where the URL names none."""

    backend: str
    driver: str
    username: str = ""
    password: str = field(default="", repr=False)
    host: str = ""
    port: int | None = None
    database: str = ""
    query: Mapping[str, str] = field(default_factory=dict, repr=False)

    def arguments(self) -> dict[str, Any]:
        """Return what psycopg's and psycopg2's connect() are given."""
        named = {"host": self.host, "port": self.port, "user": self.username, "password": self.password}
        return {name: value for name, value in {**named, "dbname": self.database}.items() if value} | dict(self.query)

    def arguments_of_asyncpg(self) -> dict[str, Any]:
        """Return what asyncpg's connect() is given."""
        named = {name: value for name, value in self.arguments().items() if name not in ("dbname", *self.query)}
        more = {"database": self.database} if self.database else {}
        started = {"server_settings": {"options": self.query["options"]}} if "options" in self.query else {}
        return {**named, **more, **query_of_asyncpg(self.query), **started}


def query_of_asyncpg(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return what asyncpg's connect() is given for what a URL for libpq says behind its question mark."""
    found = {name: value for name, value in query.items() if name not in FOR_LIBPQ}
    if "sslmode" in query:
        found["ssl"] = query["sslmode"]
    files = {name: value for name, value in query.items() if name in _FOR_DSN}
    return found | ({"dsn": f"postgresql://?{urlencode(files)}"} if files else {})


def read_address(text: str) -> Address | None:
    """Return what the URL says; None where it is none, or versions of SQLAlchemy read it differently."""
    found = _URL.match(text.strip())
    if found is None:
        return None
    part = found.groupdict(default="")
    backend, _, driver = part["name"].partition("+")
    pairs = parse_qsl(part["query"])
    if has_stray_at(text):
        return None  # `own_url` says what is wrong with it
    if len(dict(pairs)) != len(pairs) or not (part["port"] or "0").isdecimal():
        return None
    if "%" in part["database"]:
        return None  # which means something else since SQLAlchemy 2.1
    return Address(
        backend=backend,
        driver=driver,
        username=unquote(part["username"]),
        password=unquote(part["password"]),
        host=part["ipv6"] or part["host"],
        port=int(part["port"]) if part["port"] else None,
        database=part["database"],
        query=dict(pairs),
    )


def has_stray_at(text: str) -> bool:
    """Say whether a raw ``@`` in a password has made its end the host, the name of the database or a parameter."""
    found = _URL.match(text.strip())
    part = found.groupdict(default="") if found else {"host": "", "database": "", "query": ""}
    if "@" in part["host"] or "/" in part["database"].partition("@")[2]:
        return True
    return any("@" in pair and "=" not in pair.partition("@")[0] for pair in part["query"].split("&"))


def misspelling(text: str) -> InvalidConfiguration | None:
    """Return the error of a URL with control characters inside it, as from a Secret of several lines."""
    if any(ord(letter) < ord(" ") for letter in text.strip()):
        return InvalidConfiguration(
            "The database URL has a line break, or another control character, inside it.",
            advice="Write it in one line (on Kubernetes, look at the key of the Secret).",
        )
    return None


def direct_address(text: str, installed: Callable[[str], bool]) -> Address | None:
    """Return the address with a driver that can be spoken to directly, or None where SQLAlchemy is needed."""
    address = read_address(text)
    if address is None or address.backend not in ("postgresql", "postgres"):
        return None
    if {"host", "port", "user", "password", "dbname", "database", "service", "servicefile"} & set(address.query):
        return None
    wanted = [address.driver] if address.driver else ["psycopg", "psycopg2", "asyncpg"]
    for name in wanted:
        driver = _DRIVERS.get(name, "")
        plain = driver != "asyncpg" or set(address.query) <= {"ssl", *FOR_LIBPQ}
        if driver and plain and installed(driver):
            return Address(**{**vars(address), "driver": driver})
    return None
