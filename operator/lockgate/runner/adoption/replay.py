"""Follows the revisions up to one of them without a database, to know which tables there are when it is reached.

env.py runs in Alembic's offline mode, as for `alembic upgrade --sql`, because naming conventions, imports and options
of its own decide what revisions do. Nothing is rendered: the operations are followed as they come, and what a revision
does by itself is not done. Where env.py opens a connection all the same, that is read-only.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from alembic.runtime.environment import EnvironmentContext
from sqlalchemy.schema import CreateTable

from lockgate.runner.adoption.inventory import Inventory
from lockgate.runner.database import outcome
from lockgate.runner.entry.entering import enter
from lockgate.runner.entry.isolation import isolated
from lockgate.runner.entry.read_only import only_reading

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep

    from lockgate.runner.revisions.project import Project

__all__ = ["Replay"]


class _Unread:
    """What a query gives without a database: nothing that could be read, not even whether it is empty."""

    def _fail(self, *_: Any) -> Any:
        raise LookupError("it reads from the database")

    __getattr__ = __iter__ = __bool__ = __getitem__ = __len__ = _fail


class Replay:
    """One entry into env.py in offline mode, from nothing to some revisions."""

    def __init__(self, project: Project, revisions: tuple[str, ...]) -> None:
        self._project = project
        self._revisions = revisions
        self.inventory = Inventory()
        self.doubts: list[str] = []
        """Revisions that cannot be followed, each with the reason."""
        self.models = Inventory()
        """The tables of env.py's ``target_metadata``: what the image's heads should have."""
        self.contexts = 0
        """How many version tables env.py migrates."""

    def run(self) -> None:
        """Run env.py; raises whatever it raises."""
        with only_reading():
            enter(
                self._project,
                self._steps,
                self._configured,
                destination=", ".join(self._revisions),
                has_begun=lambda: self.contexts > 0,
                offline=True,
            )

    def _configured(self, environment: EnvironmentContext, *args: Any, **options: Any) -> None:
        """Stand in for EnvironmentContext.configure."""
        options.update(output_buffer=io.StringIO(), transaction_per_migration=True, on_version_apply=())
        options["starting_rev"] = None
        EnvironmentContext.configure(environment, *args, **options)
        self._read_models(options.get("target_metadata"))
        self._listen(environment.get_context())

    def _read_models(self, metadata: Any) -> None:
        for part in metadata if isinstance(metadata, (list, tuple)) else [metadata]:
            for table in part.sorted_tables if part is not None else ():
                self.models.take(CreateTable(table))

    def _listen(self, context: MigrationContext) -> None:
        self.contexts += 1

        def taken(construct: Any, *_: Any, **__: Any) -> Any:
            """Stand in for what would render, or execute."""
            if getattr(construct, "element", None) is not context._version:
                self.inventory.take(construct)
            return _Unread()

        context.impl._exec = taken  # type: ignore[method-assign]  # all operations come to it
        context.impl.connection.execute = taken  # type: ignore[union-attr,method-assign]  # what op.get_bind() gives

    def _steps(self, rows: Any, context: MigrationContext) -> Iterator[RevisionStep]:  # noqa: ARG002  # Alembic's
        for step in self._project.script._upgrade_revs(self._revisions, ()):  # type: ignore[arg-type]  # a tuple will do
            step.migration_fn = self._observed(step.revision.revision, step.migration_fn)
            yield step

    def _observed(self, revision: str, upgrade: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(upgrade)  # its name is what Alembic logs
        def observed(*args: Any, **kwargs: Any) -> None:
            """Let a revision that cannot be followed not hide those behind it."""
            known, withheld = len(self.inventory.doubts), []
            try:
                with isolated() as withheld:
                    upgrade(*args, **kwargs)
            except Exception as error:  # a revision is the user's code: anything can come out of it
                said = withheld[0] if withheld else outcome.brief_at(error, self._project.folders)
                self.doubts.append(f"{revision} ({said})")
            else:
                self.doubts += [f"{revision} ({words})" for words in (*withheld[:1], *self.inventory.doubts[known:])]

        return observed
