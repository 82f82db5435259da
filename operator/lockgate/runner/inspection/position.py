"""Where a database is, against the revisions of an image: what `status`, `plan`, `check` and `unlock` begin with.

Everything here only reads, over one connection of Lockgate's own, and takes no lock.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy.exc import DBAPIError

from lockgate.errors import InvalidConfiguration, LockgateError, MigrationFailed
from lockgate.runner.database import outcome
from lockgate.runner.database.connection import Database, OwnConnection
from lockgate.runner.database.privileges import may_read
from lockgate.runner.database.session_settings import Settings
from lockgate.runner.entry.borrowing import borrow_engine
from lockgate.runner.entry.read_only import only_reading
from lockgate.runner.entry.sessions import EnvironmentSessions
from lockgate.runner.interruption import Interruption
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.invocation.project_file import working_directory
from lockgate.runner.output.progress import Narrator
from lockgate.runner.records.lineage import applied_heads, lineage_of
from lockgate.runner.records.projects import Known
from lockgate.runner.records.statements import Kept, Part, kept_statements
from lockgate.runner.revisions import plan
from lockgate.runner.revisions.outline import outline
from lockgate.runner.revisions.project import Project, load_project

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep
    from alembic.script import ScriptDirectory
    from sqlalchemy.engine import Engine

__all__ = [
    "SETTINGS",
    "Position",
    "Verdict",
    "compare",
    "compare_recorded",
    "database_of",
    "half_applied",
    "named_table",
    "opened",
    "opened_by",
    "read_position",
    "reading",
    "recorded_statements",
]


LOCK_TIMEOUT_MS = 500
"""A look never stands in the queue for a table for longer: others would stand behind it, and it might not end."""
SETTINGS = Settings(lock_timeout_ms=LOCK_TIMEOUT_MS)
"""Of a session that looks."""


class Position(NamedTuple):
    """A version table and its rows; ``schema`` is empty where there is no such table."""

    schema: str
    table: str
    rows: tuple[str, ...]
    lineage: dict[str, tuple[str, ...]]
    """Parents of the revisions in lockgate.history, which older images do not know."""
    applied: tuple[str, ...] = ()
    """Where the table should be by lockgate.history, if it has no row."""
    is_guess: bool = False
    """Only the configuration names this table, and env.py may configure another one."""
    is_blind: bool = False
    """The role may not read what Lockgate's runs have recorded."""
    elsewhere: tuple[str, ...] = ()
    """Tables of that name in other schemas, to which revisions of the project were applied."""

    @property
    def name(self) -> str:
        """The table, for people."""
        return f"{self.schema}.{self.table}" if self.schema else self.table

    @property
    def spoken(self) -> str:
        """The rows, for people."""
        return ", ".join(self.rows) or ("base" if self.schema else "unknown")

    @property
    def sentence(self) -> str:
        """What is known of where the database is, for people."""
        if self.schema or self.rows:
            said = f"the database is at {self.spoken}"
            gone = f", although lockgate.history has {', '.join(self.applied)} as applied to {self.name}"
            return f"{said}{gone} (was its row deleted?)" if self.applied else said
        if self.elsewhere:
            known = ", ".join(self.elsewhere[:5])
            return f"the search_path finds no {self.table}; lockgate.history knows {known} (--version-table names one)"
        other = " (where env.py configures another one, --version-table names it)" if self.is_guess else ""
        blind = "; this role may not read lockgate.history, which would tell" if self.is_blind else ""
        return f"there is no version table {self.table}{other}{blind}"


class Verdict(NamedTuple):
    """A position, against the revisions of an image."""

    target: tuple[str, ...]
    steps: tuple[RevisionStep, ...] = ()
    """What is pending, in order; empty where the revision files cannot be loaded."""
    pending: tuple[str, ...] = ()
    """The revisions of that; from what an earlier run recorded where they cannot be loaded."""
    is_ahead: bool = False
    """The database contains everything that the image needs, and more."""
    objection: LockgateError | None = None
    """Why a run would be refused."""


def named_table(configuration: Configuration, project: Project | None) -> tuple[str, str]:
    """Return schema (or nothing) and name of the version table: as the flag says, as configured, or Alembic's own."""
    schema, _, table = configuration.version_table.rpartition(".")
    if table:
        return schema, table
    return (project.version_schema, project.version_table) if project else ("", "alembic_version")


def database_of(
    project: Project | None, configuration: Configuration, narrator: Narrator, settings: Settings
) -> Database:
    """Return the database of a project, or of the URL alone, to read; env.py is entered where no URL leads there."""
    url = project.url if project else configuration.url
    narrator.redact.learn(url)

    def lend() -> Engine:
        lender = project or load_project(configuration, working_directory(), os.environ)
        sessions = EnvironmentSessions(SETTINGS, Interruption())
        with only_reading():
            return borrow_engine(lender, sessions, narrator.redact, destination=configuration.target)

    known = project or outline(configuration, working_directory(), os.environ)
    return Database.of_url(
        url,
        settings,
        None if configuration.connect == "Url" else lend,
        project.objection if project else None,
        env_first=known is not None and known.env_first,
    )


@contextlib.contextmanager
def opened(
    project: Project | None, configuration: Configuration, narrator: Narrator, role: str
) -> Iterator[tuple[Database, OwnConnection]]:
    """Connect to the database of a project, or by the URL alone, to read: see `opened_by`."""
    database = database_of(project, configuration, narrator, SETTINGS)
    with opened_by(database, role) as connection:
        yield database, connection


@contextlib.contextmanager
def opened_by(database: Database, role: str) -> Iterator[OwnConnection]:
    """Connect to read; what the database then refuses is an error about rights, not about a migration."""
    with reading():
        try:
            connection = database.connect(role)
        except Exception as caught:
            raise outcome.classify(caught, connecting=True) from caught
        try:
            yield connection
        finally:
            connection.close()


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Turn errors of the database into ours."""
    try:
        yield
    except DBAPIError as caught:
        error = outcome.classify(caught)
        if not isinstance(error, MigrationFailed):
            raise error from caught
        raise InvalidConfiguration(
            f"The database refuses to answer: {outcome.brief(caught)}.",
            advice="Use the role that migrates, or grant this one the right to read.",
        ) from caught


def read_position(connection: OwnConnection, schema: str, table: str) -> Position:
    """Read a version table, and the lineage of what is in it."""
    found, rows = connection.backend.located(connection, schema, table)
    keeps = connection.backend.keeps_history and not rows
    applied = applied_heads(connection.rows, found, table) if keeps else ()
    return Position(found, table, rows, lineage_of(connection, found, table), applied)


def compare(script: ScriptDirectory, position: Position, *, target: str, accept: bool) -> Verdict:
    """Return what is pending, whether the database is ahead, and what speaks against a run.

    InvalidRevisions where the revision files cannot be read without env.py, or the target is unknown or ambiguous.
    """
    own = plan.graph(script)
    plan.pending(script, target, ())  # an unknown or ambiguous target is an error, wherever the database is
    unknown = plan.unknown_rows(position.rows, own)
    if unknown:
        heads = plan.target_heads(script, target, ())
        # Accepted first: whether the database contains all that is needed is one question, the policy another.
        trouble = plan.ahead(position.rows, unknown, heads, own, position.lineage, accept=True)
        objection = plan.ahead(position.rows, unknown, heads, own, position.lineage, accept=accept)
        return Verdict(heads, is_ahead=trouble is None, objection=objection)
    steps = tuple(plan.pending(script, target, position.rows))
    return Verdict(plan.target_heads(script, target, steps), steps, tuple(step.revision.revision for step in steps))


def compare_recorded(known: Known, position: Position, *, accept: bool) -> Verdict:
    """Return the same from what a run of these very files recorded: they cannot be loaded without env.py."""
    unknown = plan.unknown_rows(position.rows, known.graph)
    if unknown:
        trouble = plan.ahead(position.rows, unknown, known.heads, known.graph, position.lineage, accept=True)
        objection = plan.ahead(position.rows, unknown, known.heads, known.graph, position.lineage, accept=accept)
        return Verdict(known.heads, is_ahead=trouble is None, objection=objection)
    missing = plan.ancestors(known.heads, known.graph) - plan.ancestors(position.rows, known.graph)
    return Verdict(known.heads, pending=tuple(sorted(missing)))


def recorded_statements(connection: OwnConnection, version_table: str) -> dict[Part, tuple[Kept, ...]]:
    """Return what is kept of revisions of a version table that a run has begun and not ended."""
    if not connection.backend.keeps_history or not connection.value(f"SELECT {may_read('statements')}"):
        return {}
    return kept_statements(connection.rows, version_table)


def half_applied(
    position: Position, verdict: Verdict | None, kept: dict[Part, tuple[Kept, ...]]
) -> tuple[tuple[str, int], ...]:
    """Return revisions that a run has begun and not ended, and how many statements of each are kept."""
    pending = None if verdict is None else set(verdict.pending)
    return tuple(
        (part.revision, len(rows))
        for part, rows in kept.items()
        if (part.revision in position.rows) == (part.direction == "downgrade")
        and (pending is None or part.direction == "downgrade" or part.revision in pending)
    )
