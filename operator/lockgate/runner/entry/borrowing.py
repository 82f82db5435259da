"""Enters env.py for the engine by which it connects: up to its first ``context.configure()``, and no further."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from lockgate.errors import MigrationFailed, NoProgress
from lockgate.runner.database import outcome
from lockgate.runner.entry.entering import enter
from lockgate.runner.entry.loaded import Loaded, of_application
from lockgate.runner.interruption import StopRequested
from lockgate.runner.wording import sentence

if TYPE_CHECKING:
    from alembic.runtime.environment import EnvironmentContext
    from sqlalchemy.engine import Engine

    from lockgate.runner.entry.sessions import EnvironmentSessions
    from lockgate.runner.output.redaction import Redactor
    from lockgate.runner.revisions.project import Project

__all__ = ["borrow_engine"]


class _Enough(BaseException):  # not an Exception, so that env.py's `except Exception` lets it pass
    """Raised inside env.py when it has handed over its connection."""


def borrow_engine(project: Project, sessions: EnvironmentSessions, redact: Redactor, *, destination: str) -> Engine:
    """Run env.py until it configures a connection, and return the engine of that.

    What env.py begins before is rolled back or closed as it does that itself when something is raised. Errors of our
    tree: what the database said, MigrationFailed for everything else that env.py raises.
    """
    engines: list[Engine] = []
    before = frozenset(sys.modules)

    def configured(_environment: EnvironmentContext, connection: Any = None, *_: Any, **__: Any) -> None:
        """Stand in for EnvironmentContext.configure."""
        if connection is not None:
            engines.append(connection.engine)
        raise _Enough

    try:
        with sessions, sessions.inputs:
            enter(project, _no_steps, configured, destination=destination, has_begun=lambda: bool(engines))
    except StopRequested:
        raise
    except BaseException as caught:  # env.py is the user's code, and may turn one exception into another
        if not engines and not isinstance(caught, _Enough):
            sessions.name_refusal(caught)
            raise _failed(caught, project) from caught
    if not engines:
        raise NoProgress(
            "env.py ended without handing a connection to Alembic.",
            advice="It has to call context.configure(connection=...) and context.run_migrations() in online mode.",
        )
    Loaded.of(project.script.dir).imported = of_application(sys.modules.keys() - before)
    redact.learn(engines[0].url.render_as_string(hide_password=False))
    return engines[0]


def _no_steps(*_: Any) -> tuple[()]:
    return ()


def _failed(caught: BaseException, project: Project) -> BaseException:
    if not isinstance(caught, (Exception, SystemExit)):
        return caught
    error = outcome.classify(caught)
    if not isinstance(error, MigrationFailed) or caught is error:
        return error
    return MigrationFailed(
        sentence(f"env.py failed: {outcome.brief_at(caught, project.folders)}"),
        advice="Correct env.py, or what it imports and reads.",
    )
