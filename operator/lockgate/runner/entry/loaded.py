"""What this process has loaded of a project: env.py and its revision files, which some cannot be a second time.

They define a table on a Base of the application, say, or register a metric: what they import stays as it was the first
time. So where a later entry fails to load what an earlier one has loaded, only a fresh process can load it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from alembic.util import CommandError

from lockgate.errors import InvalidRevisions, LockgateError, MigrationFailed
from lockgate.runner.database import outcome
from lockgate.runner.fresh_process import LoadedTwice

__all__ = ["Loaded", "of_application"]

_known: dict[str, Loaded] = {}


@dataclass
class Loaded:
    """Whether env.py, and the revision files, of a folder have been loaded by an entry that is over."""

    env: bool = False
    revisions: bool = False
    imported: tuple[str, ...] = ()
    """Modules of the application that env.py has imported where it was entered for its engine alone."""

    @staticmethod
    def of(folder: str) -> Loaded:
        """Return what is known of the project in this folder."""
        return _known.setdefault(folder, Loaded())

    def note(self, *, env: bool, revisions: bool) -> None:
        """Take note of what an entry has loaded."""
        self.env, self.revisions = self.env or env, self.revisions or revisions

    def forget_imported(self) -> bool:
        """Forget those modules, so that env.py imports them anew; return whether there were any.

        A fresh process would have to enter env.py for its engine again, and so could not be the first to migrate by it.
        """
        names, self.imported = self.imported, ()
        return bool([sys.modules.pop(name) for name in names if name in sys.modules])

    def cannot_be_again(self, error: BaseException, *, env: bool, revisions: bool) -> bool:
        """Return whether an entry has failed to load what was loaded before.

        ``env``, ``revisions``: what this entry has loaded all the same.
        """
        if not ((self.env and not env) or (self.revisions and not revisions)):
            return False
        if isinstance(error, InvalidRevisions):
            # Of a target that cannot be reached, Alembic has said so; what a file raised is anything else.
            return error.__cause__ is not None and not isinstance(error.__cause__, CommandError)
        return not isinstance(error, LockgateError) and not (
            outcome.code_of(error) or outcome.classify(error).retryable
        )

    @staticmethod
    def twice(error: BaseException, folders: tuple[str, ...]) -> LoadedTwice:
        """Return the error that a fresh process can cure."""
        raised = error.__cause__ if isinstance(error, InvalidRevisions) and error.__cause__ else error
        said = outcome.brief_at(raised, folders).rstrip(".")
        return LoadedTwice(
            MigrationFailed(
                f"What env.py or a revision file defines cannot be defined twice in one process ({said}).",
                advice="Define it in a module that is imported: Python loads that once.",
            )
        )


def of_application(names: Iterable[str]) -> tuple[str, ...]:
    """Return those modules that are neither installed packages nor Python's or Lockgate's own."""
    own = {*sys.stdlib_module_names, "lockgate"}
    files = {
        name: getattr(sys.modules.get(name), "__file__", None) for name in names if name.partition(".")[0] not in own
    }
    return tuple(name for name, file in files.items() if file and "site-packages" not in file)
