"""Renders pending revisions as SQL, the way `alembic upgrade --sql` does: env.py runs, the database is not changed.

env.py is needed for what decides how SQL looks: naming conventions, the version table, options of its own. One that
knows offline mode opens no connection; one that does not opens its usual one, whose transactions are all read-only
here. Alembic writes to a buffer in either case, and what a revision does by itself is not done. What follows a failure
inside a revision is thrown away: half of its statements would be taken for all of them.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic.runtime.environment import EnvironmentContext
from sqlalchemy.engine.url import URL, make_url

from lockgate.errors import DatabaseUnreachable, LockgateError
from lockgate.runner.database import outcome
from lockgate.runner.database.backends import backend_of
from lockgate.runner.database.dbapi import dbapi_of
from lockgate.runner.entry.arrival import asking, in_own_transaction, translated_schema
from lockgate.runner.entry.entering import enter
from lockgate.runner.entry.isolation import isolated
from lockgate.runner.entry.read_only import only_reading
from lockgate.runner.inspection.position import Position, Verdict, compare
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.ledger.committed import is_in_transaction
from lockgate.runner.output.progress import Narrator
from lockgate.runner.revisions.project import Project
from lockgate.runner.sql.values import masked_plan

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep
    from sqlalchemy.engine import Connection

__all__ = ["Planned", "Rendering", "place"]

_PORTS = {"mysql": 3306, "mariadb": 3306}
_READS = re.compile(r"^\s*(?:SELECT|WITH)\b", re.IGNORECASE | re.MULTILINE)


class Planned(NamedTuple):
    """A pending revision."""

    revision: str
    message: str
    table: str
    """The version table that would get it."""
    sql: str | None
    """What it would execute; None where that cannot be said."""
    note: str = ""
    """Why there is no SQL, or what is uncertain about it."""


class Rendering:
    """One entry into env.py in offline mode."""

    def __init__(
        self,
        project: Project,
        configuration: Configuration,
        narrator: Narrator,
        read: Callable[[URL, str, str], Position],
        own: URL,
    ) -> None:
        """Take ``read``, for the position by (database, schema, version table), and the URL that the run was given."""
        self._project = project
        self._configuration = configuration
        self._narrator = narrator
        self._read = read
        self._own = own
        self._buffer = io.StringIO()
        self._found: tuple[Position, Verdict] | None = None
        self._failed = self._place = ""
        self._withheld: list[str] = []
        self._dialect = ""
        self.refusal: LockgateError | None = None
        """What Lockgate itself raised inside env.py, which may have swallowed it."""
        self.positions: list[tuple[Position, Verdict]] = []
        """Each version table that env.py configured."""
        self.planned: list[Planned] = []
        self.begins: bool | None = None
        """A transaction of env.py's begins before its first statement; None where env.py gave no connection."""
        self.has_begun = False
        """env.py gave a connection on which it had begun a transaction."""
        self.unread: list[str] = []
        """Why another database that env.py configured could not be read."""

    def run(self) -> None:
        """Run env.py; raises whatever it raises."""
        with only_reading():
            enter(
                self._project,
                self._steps,
                self._configured,
                destination=self._configuration.target,
                has_begun=lambda: bool(self._found or self.positions or self.unread or self.refusal),
                offline=True,
            )

    def _configured(
        self, environment: EnvironmentContext, connection: Any = None, url: Any = None, *args: Any, **options: Any
    ) -> None:
        """Stand in for EnvironmentContext.configure."""
        if connection is None and url is None and not {"dialect", "dialect_name"} & set(options):
            url = self._own  # of a configuration that has none
        options.update(self._options(connection, url, options))
        EnvironmentContext.configure(environment, connection, url, *args, **options)

    def _options(self, connection: Any, url: Any, options: dict[str, Any]) -> dict[str, Any]:
        """Find where the version table is, and return what differs from what env.py wants."""
        target = make_url(url) if url is not None else connection.engine.url if connection is not None else self._own
        self._dialect = target.get_backend_name()
        self._narrator.redact.learn(target.render_as_string(hide_password=False))
        schema, table = options.get("version_table_schema") or "", options.get("version_table") or "alembic_version"
        if connection is not None:
            schema = translated_schema(connection, schema or None) or ""
            self.has_begun |= connection.in_transaction()
            with in_own_transaction(connection):
                self.begins = is_in_transaction(dbapi_of(connection))
                schema = _schema_there(connection, schema, table)
        rows = self._look(target, schema, table)
        return {
            "output_buffer": self._buffer,
            "transaction_per_migration": True,  # as a run does
            "on_version_apply": (),  # env.py's own observers may write wherever they like
            "starting_rev": list(rows) or None,
        }

    def _look(self, database: URL, schema: str, table: str) -> tuple[str, ...]:
        """Read the version table; return the rows from which there is a plan."""
        self._found = None
        accept = self._configuration.database_ahead == "Accept"
        try:
            position = self._read(database, schema, table)
            verdict = compare(self._project.script, position, target=self._configuration.target, accept=accept)
        except DatabaseUnreachable as error:
            if place(database) != place(self._own):
                self.unread.append(error.message)
                return ()
            self.refusal = error
            raise
        except LockgateError as error:
            self.refusal = error
            raise
        self._found = (position, verdict)
        return position.rows if verdict.steps else ()

    def _steps(self, rows: Any, context: MigrationContext) -> Iterator[RevisionStep]:  # noqa: ARG002  # Alembic's
        if self._found is None:
            return
        position, verdict = self._found
        self.positions.append(self._found)
        for step in verdict.steps:
            start = self._buffer.tell()
            self._failed, self._place, self._withheld = "", "", []
            step.migration_fn = self._observed(step.migration_fn)
            yield step
            self.planned.append(self._taken(step, position, self._buffer.getvalue()[start:].strip()))

    def _observed(self, upgrade: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(upgrade)  # its name is what Alembic logs
        def observed(*args: Any, **kwargs: Any) -> None:
            """Let a revision that cannot be rendered not stop those behind it."""
            try:
                with isolated() as self._withheld:
                    upgrade(*args, **kwargs)
            except Exception as error:  # a revision is the user's code: anything can come out of it
                self._failed = outcome.brief_at(error, self._project.folders)
                self._place = outcome.where(error, self._project.folders)

        return observed

    def _taken(self, step: RevisionStep, position: Position, sql: str) -> Planned:
        revision, message = step.revision.revision, step.doc or ""
        if self._failed or self._withheld:
            return Planned(revision, message, position.name, None, self._why_not())
        note = "it reads from the database: what it does may depend on what it finds" if _READS.search(sql) else ""
        return Planned(revision, message, position.name, self._narrator.redact(masked_plan(sql, self._dialect)), note)

    def _why_not(self) -> str:
        """Say why there is no SQL of a revision."""
        if self._withheld:
            at = f", at {self._place}" if self._place else ""
            return f"its SQL cannot be shown: {self._withheld[0]}{at}, which a plan does not let it do"
        return f"cannot be rendered without a database: {self._failed}"


def _schema_there(connection: Connection, schema: str, table: str) -> str:
    """Return the schema in which env.py's own session finds the table: it may have set its search_path."""
    backend = backend_of(connection.dialect.name)
    return backend.facts(asking(connection), schema or None, table).schema if backend.keeps_history else schema


def place(url: URL) -> tuple[object, ...]:
    """Return what says which database it is; drivers and options do not."""
    return url.host or "", url.port or _PORTS.get(url.get_backend_name(), 5432), url.database or ""
