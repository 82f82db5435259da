"""The commands of ``lockgate``: signals around the work, a report at the end.

Each command's module is imported when it is called for: most of them import Alembic.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lockgate.errors import Interrupted, LockgateError, SchemaNotReady
from lockgate.runner.database import outcome
from lockgate.runner.durations import spoken
from lockgate.runner.fresh_process import LoadedTwice, can_go_on, go_on, let_signals_in, taken_over
from lockgate.runner.interruption import Interruption, StopRequested
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.output.progress import Narrator
from lockgate.runner.output.publication import Publisher, report_of

if TYPE_CHECKING:
    from lockgate.runner.inspection.answer import Answer

__all__ = ["WORK"]

ANSWER_SECONDS = 20.0
"""How long the last look of `lockgate wait` may take: longer than to connect, and to find out that nobody can be."""

Command = Callable[[Configuration, Narrator, Publisher], int]


def migrate(configuration: Configuration, narrator: Narrator, publish: Publisher) -> int:
    """Run ``lockgate migrate``, ``downgrade`` or ``baseline``."""
    from lockgate.runner.migration.run import Run  # noqa: PLC0415  # see the top of this file

    interruption = Interruption()
    run = Run(configuration, narrator, interruption, taken_over=taken_over())

    def give_up() -> None:
        os._exit(publish(run.report("", _cause(interruption)), run.details))

    interruption.listen(cancel=lambda end: run.cancel(end=end), give_up=give_up)
    interruption.limit(configuration.run_timeout, spent=time.monotonic() - run.started)

    loaded_twice: list[LoadedTwice] = []

    def execute() -> str:
        let_signals_in()
        try:
            return run.execute()
        except LoadedTwice as caught:
            loaded_twice.append(caught)
            raise caught.orig from caught

    reason, error = _end(execute, interruption)
    if loaded_twice and error is loaded_twice[0].orig and run.gets_on and can_go_on():
        narrator.tell("retrying", f"{error.message} Going on in a fresh process.")
        with contextlib.suppress(OSError):  # where the system refuses, the error is reported
            go_on(run.handed_over())
    return publish(run.report(reason, error), run.details)


def wait(configuration: Configuration, narrator: Narrator, publish: Publisher) -> int:
    """Run ``lockgate wait``."""
    from lockgate.runner.inspection.wait import Wait  # noqa: PLC0415  # see the top of this file

    interruption = Interruption()
    work = Wait(configuration, narrator)

    def give_up() -> None:
        os._exit(publish(work.report("", _cause(interruption))))

    interruption.listen(cancel=_nothing_runs_for_long, give_up=give_up)
    limit = configuration.timeout + ANSWER_SECONDS
    said = f"Not ready after {spoken(limit)}: the database does not answer."
    interruption.limit(limit, SchemaNotReady(said, advice="The server is connected, and stands still: look at it."))
    reason, error = _end(work.execute, interruption)
    return publish(work.report(reason, error))


def _answering(module: str, name: str) -> Command:
    """Return the command that calls this function of `inspection` once, and publishes its `Answer`."""

    def command(configuration: Configuration, narrator: Narrator, publish: Publisher) -> int:
        look = getattr(importlib.import_module(f"lockgate.runner.inspection.{module}"), name)
        interruption = Interruption()
        answers: list[Answer] = []

        def give_up() -> None:
            os._exit(publish(report_of(_cause(interruption))))

        def work() -> str:
            answers.append(look(configuration, narrator))
            return ""

        interruption.listen(cancel=_nothing_runs_for_long, give_up=give_up)
        _, error = _end(work, interruption)
        if error is not None:
            return publish(report_of(error))
        return publish(answers[0].report, answers[0].details, answers[0].lines)

    return command


WORK: Mapping[str, Command] = {
    "migrate": migrate,
    "wait": wait,
    "status": _answering("status", "status"),
    "plan": _answering("plan_command", "show_plan"),
    "history": _answering("history_list", "list_history"),
    "check": _answering("checkup", "check"),
    "baseline": migrate,
    "downgrade": migrate,
    "unlock": _answering("unlock", "unlock"),
}
"""What each command of the command line does."""


def _end(work: Callable[[], str], interruption: Interruption) -> tuple[str, LockgateError | None]:
    """Do the work; return why it succeeded, or the error that it ended with."""
    try:
        try:
            reason = work()
        finally:
            interruption.over()
    except LockgateError as error:
        return "", interruption.cause or error
    except StopRequested:
        return "", _cause(interruption)
    except Exception as error:  # whatever it is, a report has to be written
        if interruption.cause is None and outcome.code_of(error) == "":
            _show(error)
        return "", interruption.cause or _unexpected(error)
    return reason, None


def _cause(interruption: Interruption) -> LockgateError:
    return interruption.cause or Interrupted("The process was asked to end.")


def _nothing_runs_for_long(end: bool) -> None:
    """Cancel nothing: a command that only looks has no statement that is worth it."""


def _unexpected(error: Exception) -> LockgateError:
    """Turn what nobody expected into an error of our tree: a lost database is one, a defect of Lockgate's another."""
    known = outcome.classify(error)
    if known.retryable or outcome.code_of(error):
        return known
    return LockgateError(
        f"Lockgate failed: {outcome.brief(error)}.", advice="The log before this line shows where; please report it."
    )


def _show(error: Exception) -> None:
    """Print where it happened, without messages: those may contain parameters."""
    for frame in traceback.extract_tb(error.__traceback__):
        sys.stderr.write(f"  {frame.filename}:{frame.lineno} in {frame.name}\n")
