"""Decides whose transactions a run uses: one for each revision, or env.py's own. Pure.

Alembic runs all revisions in the transaction that env.py has begun, or lets Alembic begin. A transaction for each
revision leaves the same database behind, unless env.py has done something in its transaction that ends with it, or
belongs to it: settings by ``SET LOCAL``, locks, temporary tables, rows that are written anew by each try, a view that
is dropped before the revisions and made again after them. So a statement has to be known to outlive a commit, and to
be harmless when it is repeated; where one is not, the run uses env.py's transaction.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from lockgate.errors import InvalidConfiguration
from lockgate.runner.sql.lexer import without_comments, without_literals

__all__ = [
    "AS_ENVIRONMENT",
    "AUTO",
    "PER_REVISION",
    "SAVEPOINT",
    "TRANSACTIONS",
    "Choice",
    "Style",
    "choose",
    "foretell",
    "outlives_commit",
]

AUTO, PER_REVISION, AS_ENVIRONMENT = TRANSACTIONS = ("Auto", "PerRevision", "AsEnvironment")

SAVEPOINT = "SAVEPOINT"
"""Stands for a savepoint among the statements of env.py."""


class Style(NamedTuple):
    """How env.py surrounds ``run_migrations()``."""

    begun: bool = False
    """The connection is in a transaction that env.py has begun, and that env.py commits."""
    says_per_migration: bool = False
    """env.py gives ``transaction_per_migration=True`` to ``context.configure()``."""
    transactional: bool = True
    """DDL can be rolled back, as Alembic sees it; where not, Alembic begins a transaction for each revision."""
    statements: tuple[str, ...] = ()
    """What env.py has executed in the transaction that it let Alembic begin."""


class Choice(NamedTuple):
    """Whose transactions a run uses for one version table."""

    transactions: str
    why: str = ""
    """What about env.py decided it; empty where it bears both."""


def choose(wanted: str, style: Style) -> Choice:
    """Return the transactions for this style of env.py; InvalidConfiguration where those wanted cannot be kept."""
    why = _needs_own(style)
    if why and wanted == PER_REVISION:
        raise InvalidConfiguration(
            f"A transaction for each revision cannot be kept: {why}.",
            advice="Say Auto or AsEnvironment (--transactions, spec.alembic.transactions), or change env.py.",
        )
    if why:
        return Choice(AS_ENVIRONMENT, why)
    if style.says_per_migration:
        return Choice(PER_REVISION, "env.py says transaction_per_migration")
    if not style.transactional:
        return Choice(PER_REVISION, "DDL is not transactional here")
    return Choice(AS_ENVIRONMENT if wanted == AS_ENVIRONMENT else PER_REVISION)


def foretell(wanted: str, *, begun: bool) -> str:
    """Say before a run in whose transactions it will be; ``begun``: env.py is known to begin one of its own."""
    if begun and wanted == PER_REVISION:
        return "PerRevision cannot be kept: env.py begins a transaction of its own, and the run will be refused"
    if begun or wanted == AS_ENVIRONMENT:
        return "AsEnvironment: committed as env.py does it, as with Alembic alone"
    if wanted == PER_REVISION:
        return (
            "PerRevision: each revision is committed by itself; refused where env.py relies on a transaction of its own"
        )
    return (
        "PerRevision, each revision committed by itself, unless env.py relies on a transaction of its own: that shows"
        " when it migrates, and is said before the first revision"
    )


def _needs_own(style: Style) -> str:
    """Say why nothing but env.py's own transaction keeps what env.py does; empty where that is not so."""
    if style.begun:
        return "env.py runs the revisions in a transaction that it has begun itself"
    if style.says_per_migration or not style.transactional:
        return ""
    for statement in style.statements:
        if not outlives_commit(statement):
            return f"env.py says {_words(statement)} before the first revision, which may be meant for one transaction"
    return ""


_SET = re.compile(
    r"SET\s+(?!\s|LOCAL\b|TRANSACTION\b|CONSTRAINTS\b|(?:SESSION\s+)?transaction_)|(?:RESET|SHOW|PRAGMA)\b"
    r"|BEGIN(?:\s+(?:DEFERRED|IMMEDIATE|EXCLUSIVE))?$",  # what a listener of SQLAlchemy's sends to SQLite, each time
    re.IGNORECASE,
)
_REPEATABLE = re.compile(
    r"CREATE\s+(?:SCHEMA|EXTENSION|TABLE|SEQUENCE|(?:UNIQUE\s+)?INDEX)\s+IF\s+NOT\s+EXISTS\b"
    r"|CREATE\s+OR\s+REPLACE\s+(?:FUNCTION|PROCEDURE|VIEW|RULE|TRIGGER)\b|GRANT\b|COMMENT\s+ON\b"
    r"|ALTER\s+DEFAULT\s+PRIVILEGES\b",
    re.IGNORECASE,
)
_QUERY = re.compile(r"(?:SELECT|VALUES|TABLE)\b", re.IGNORECASE)
_LOCKS_OR_WRITES = re.compile(
    r"\bFOR\s+(?:NO\s+KEY\s+UPDATE|UPDATE|KEY\s+SHARE|SHARE)\b|\b(?:INTO|INSERT|UPDATE|DELETE|MERGE)\b", re.IGNORECASE
)
_PARAMETER = re.compile(r"%\(\w+\)s")
_CALLED = re.compile(r"(\w+)\s*\(")
_QUOTED_CALL = re.compile(r'"\s*\(')
_SETS_SESSION = re.compile(r"\bset_config\s*\([^()]*,\s*(?:is_local\s*(?:=>|:=)\s*)?false\s*\)", re.IGNORECASE)
_WORDS = "select from where and or not in any all some exists as on using values case when then else like array"
"""Words that stand before a parenthesis, and call nothing."""
_HARMLESS = (
    "array_agg bool_and bool_or cast clock_timestamp coalesce count current_database current_schema"
    " current_schemas current_setting format_type greatest has_any_column_privilege has_column_privilege"
    " has_database_privilege has_function_privilege has_schema_privilege has_sequence_privilege"
    " has_table_privilege hashtext least lower max min now nullif obj_description pg_advisory_lock"
    " pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_shared pg_backend_pid pg_get_userbyid"
    " pg_has_role pg_is_in_recovery pg_table_is_visible pg_try_advisory_lock pg_try_advisory_lock_shared"
    " pg_type_is_visible quote_ident quote_literal string_agg sum to_regclass to_regnamespace to_regrole"
    " to_regtype trim unnest upper version"
)
"""Functions that leave nothing behind, or a lock of the session."""
_KNOWN = frozenset(f"{_WORDS} {_HARMLESS}".split())


def outlives_commit(statement: str) -> bool:
    """Return whether what a statement does stays after a commit, and is not done twice by being repeated."""
    text = without_comments(statement)
    if _QUOTED_CALL.search(text):
        return False  # a function in quotes: its name goes away with the literals
    parts = _PARAMETER.sub("?", without_literals(text)).strip().split(";")
    return all(_part_outlives(part.strip()) for part in parts)


def _part_outlives(text: str) -> bool:
    if not text or _SET.match(text) or _REPEATABLE.match(text):
        return True
    if not _QUERY.match(text) or _LOCKS_OR_WRITES.search(text):
        return False
    return all(name.lower() in _KNOWN for name in _CALLED.findall(_SETS_SESSION.sub(" ", text)))


def _words(statement: str) -> str:
    """Name a statement by its first words; what a literal holds is nobody's business."""
    words = re.findall(r"[\w.]+", without_literals(without_comments(statement)))
    return " ".join(words[:3]) or "something"
