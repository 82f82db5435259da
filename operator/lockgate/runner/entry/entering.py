"""Runs the file env.py: as it is, or on a worker thread of AnyIO where it demands one.

Some applications (Prefect) migrate from inside their server: their env.py hands its work to the event loop that called
it, by ``anyio.from_thread.run()``, and does not run from the `alembic` command at all. AnyIO says so before anything is
done; then there is a loop in the main thread, where signals arrive, and env.py runs on a thread of that loop.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from lockgate.runner.database.outcome import chain

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

__all__ = ["demands_worker_thread", "run_env_file"]


def run_env_file(script: ScriptDirectory, *, has_begun: Callable[[], bool]) -> None:
    """Run env.py; raises whatever it raises. Once it ``has_begun`` to migrate, it is not run another way."""
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
    said = any(isinstance(item, RuntimeError) and "AnyIO worker thread" in str(item) for item in chain(error))
    return said and "anyio" in sys.modules
