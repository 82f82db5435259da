"""Runs the file env.py with a ``context.configure()`` of Lockgate's.

``configure`` is replaced on the EnvironmentContext *instance*, where the functions of the module alembic.context end.

env.py runs in the main thread, unless it demands a worker thread of AnyIO. Some applications (Prefect) migrate from
inside their server: their env.py hands its work to the event loop that called it, by ``anyio.from_thread.run()``, and
does not run from the `alembic` command at all. AnyIO says so before anything is done; then there is a loop in the main
thread, where signals arrive, and env.py runs on a thread of that loop.

env.py finds the configuration as Alembic would. Where that has no ``sqlalchemy.url``, and env.py fails without one, it
runs once more with the URL that Lockgate was given: Alembic's own templates go by the configuration alone.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from alembic.runtime.environment import EnvironmentContext
from sqlalchemy.exc import DBAPIError

from lockgate.errors import LockgateError
from lockgate.runner.database.outcome import chain, words_of
from lockgate.runner.entry.loaded import Loaded
from lockgate.runner.forks import end_child
from lockgate.runner.output.alembic_log import without_steps

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

    from lockgate.runner.revisions.project import Project

__all__ = ["demands_worker_thread", "enter"]


def enter(
    project: Project,
    steps: Callable[..., Any],
    configured: Callable[..., None],
    *,
    destination: str,
    has_begun: Callable[[], bool],
    offline: bool = False,
    **options: Any,
) -> None:
    """Run env.py; raises whatever it raises.

    ``steps`` is asked for the revisions to run. ``configured`` stands in for ``EnvironmentContext.configure``: it gets
    the context, then what env.py gives, and has to call the original. ``has_begun`` says whether env.py has got so far
    that it must not be run another way. ``options`` are further ones of the context.
    """
    told = {"as_sql": offline, "starting_rev": None, "tag": None, "destination_rev": destination, **options}
    # Offline nothing is run, whatever Alembic logs.
    quiet = without_steps() if offline else contextlib.nullcontext()
    with quiet, EnvironmentContext(project.config, project.script, fn=steps, **told) as environment:
        environment.configure = functools.partial(configured, environment)  # type: ignore[method-assign]  # see above
        loaded = Loaded.of(project.script.dir)
        try:
            _run_as_needed(project, loaded, has_begun)
        except Exception as error:
            if loaded.cannot_be_again(error, env=has_begun(), revisions=project.has_revisions):
                raise loaded.twice(error, project.folders) from error
            raise
        finally:
            loaded.note(env=has_begun(), revisions=project.has_revisions)


def _run_as_needed(project: Project, loaded: Loaded, has_begun: Callable[[], bool]) -> None:
    """Run env.py, and once more with its modules imported anew, or with a URL, where it has failed without."""
    try:
        _run_env_file(project.script, has_begun)
    except Exception as error:
        if has_begun() or not _is_before_database(error) or not (loaded.forget_imported() or project.say_url()):
            raise
        _run_env_file(project.script, has_begun)


def _is_before_database(error: BaseException) -> bool:
    """Return whether env.py failed before it has met a database, with all its modules there."""
    found = tuple(chain(error))
    return not any(isinstance(item, (DBAPIError, LockgateError, ImportError, SyntaxError)) for item in found)


def _run_env_file(script: ScriptDirectory, has_begun: Callable[[], bool]) -> None:
    try:
        _run_on_some_thread(script, has_begun)
    except BaseException as error:
        end_child(error)
        raise
    end_child()


def _run_on_some_thread(script: ScriptDirectory, has_begun: Callable[[], bool]) -> None:
    try:
        script.run_env()
    except RuntimeError as error:
        if has_begun() or not demands_worker_thread(error):
            raise
    else:
        return
    # The application's, which has imported it: Lockgate itself does not need it.
    anyio, to_thread = sys.modules["anyio"], importlib.import_module("anyio.to_thread")
    anyio.run(functools.partial(to_thread.run_sync, script.run_env))


def demands_worker_thread(error: BaseException) -> bool:
    """Return whether this is how AnyIO says that its worker thread is needed; all its versions name it so."""
    said = any(isinstance(item, RuntimeError) and "AnyIO worker thread" in words_of(item) for item in chain(error))
    return said and "anyio" in sys.modules
