"""The two entries into env.py that adopt a database: one looks at what is there, one writes the version. `Course`s."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING

from alembic.util import CommandError
from sqlalchemy import inspect, text

from lockgate.errors import InvalidRevisions
from lockgate.runner.adoption.schema_match import Existing, compare_tables, mismatch
from lockgate.runner.entry.arrival import in_own_transaction
from lockgate.runner.revisions import plan

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep
    from sqlalchemy.engine import Connection

    from lockgate.runner.adoption.inventory import Name
    from lockgate.runner.entry.seen import Seen
    from lockgate.runner.revisions.project import Project

__all__ = ["Stamp", "Survey", "named_revisions"]

_EXISTING = (
    "SELECT n.nspname, c.relname, pg_table_is_visible(c.oid),"
    " CAST((SELECT json_agg(a.attname) FROM pg_catalog.pg_attribute a"
    " WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS text)"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'"
    " AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'lockgate')"
)


def named_revisions(project: Project, names: str) -> tuple[str, ...]:
    """Return the revisions that a baseline names: one, or several with commas; InvalidRevisions where it is none."""
    wanted = tuple(name.strip() for name in names.split(",") if name.strip())
    try:
        found = [revision for revision in project.script.get_revisions(wanted) if revision is not None]
    except CommandError as error:
        raise InvalidRevisions(
            f"The baseline {names!r} is no revision of this image: {str(error).rstrip('.')}.",
            advice="Name the revision that the tables in the database are at.",
        ) from error
    if not found:
        raise InvalidRevisions(f"The baseline {names!r} is no revision.", advice="An empty schema needs none: migrate.")
    return tuple(dict.fromkeys(revision.revision for revision in found))


class Survey:
    """Looks: which version tables are configured, what is in them, which tables there are."""

    upward = True
    only_looks = True
    destination = "heads"

    def __init__(self, project: Project) -> None:
        self._script = project.script
        self.rows: list[tuple[str, ...]] = []
        """Of each version table."""
        self.existing: list[Existing] = []

    @cached_property
    def graph(self) -> dict[str, tuple[str, ...]]:
        """The image's revisions and their parents."""
        return plan.graph(self._script)

    def steps(self, seen: Seen, context: MigrationContext) -> list[RevisionStep]:
        """Take note, and do nothing."""
        self.rows.append(seen.rows)
        self.existing = existing_tables(context)
        return []

    def left(self, seen: Seen, rows: tuple[str, ...]) -> int:  # noqa: ARG002  # a Course
        """Nothing is to be done."""
        return 0


class Stamp(Survey):
    """Writes the version of a database that has been found to be at some revisions, and looks again before."""

    only_looks = False

    def __init__(self, project: Project, revisions: tuple[str, ...], wanted: dict[Name, set[str] | None]) -> None:
        super().__init__(project)
        self._revisions = revisions
        self._wanted = wanted
        self.destination = ", ".join(revisions)

    def steps(self, seen: Seen, context: MigrationContext) -> list[RevisionStep]:
        """Return one step for each revision, none of which runs anything."""
        super().steps(seen, context)
        if seen.rows:
            return []
        comparison = compare_tables(self._wanted, self.existing)
        if not comparison.is_complete:
            raise mismatch(self._revisions, comparison)
        steps = []
        for step in self._script._stamp_revs(self._revisions, ()):
            step.revision = self._script.get_revision(step.to_[0])  # type: ignore[attr-defined]  # as a RevisionStep has
            step.doc = step.revision.doc  # type: ignore[attr-defined]
            steps.append(step)
        seen.target, seen.planned = self._revisions, len(steps)
        return steps  # type: ignore[return-value]  # they have what is used of a RevisionStep

    def left(self, seen: Seen, rows: tuple[str, ...]) -> int:  # noqa: ARG002  # a Course
        """Return how many revisions are not written."""
        return len(set(self._revisions) - set(rows))


def existing_tables(context: MigrationContext) -> list[Existing]:
    """Return all tables, as env.py's session sees them; of MySQL and SQLite, those of the default schema."""
    connection = context.connection
    assert connection is not None  # noqa: S101  # without one there is no plan
    with in_own_transaction(connection):
        if connection.dialect.name != "postgresql":
            return _inspected(connection)
        rows = connection.execute(text(_EXISTING)).fetchall()
    return [
        Existing(schema, table, visible, frozenset(json.loads(found or "[]"))) for schema, table, visible, found in rows
    ]


def _inspected(connection: Connection) -> list[Existing]:
    inspector = inspect(connection)
    schema = inspector.default_schema_name or ""
    return [
        Existing(schema, table, True, frozenset(str(column["name"]) for column in inspector.get_columns(table)))
        for table in inspector.get_table_names()
    ]
