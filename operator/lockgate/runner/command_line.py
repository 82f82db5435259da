"""The command ``lockgate``: reads what it was told, runs it, writes the report, ends the process with its exit code."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn, TextIO, cast

from lockgate.errors import AlembicNotInstalled, InvalidConfiguration, LockgateError
from lockgate.runner.fresh_process import remember_start
from lockgate.runner.imports import begin_imports
from lockgate.runner.invocation.arguments import read_arguments
from lockgate.runner.invocation.completion import completion_script
from lockgate.runner.invocation.configuration import Configuration, misspelt, read_configuration
from lockgate.runner.invocation.option import variable_of
from lockgate.runner.invocation.project_file import read_project_file, working_directory
from lockgate.runner.invocation.refusal import refuse
from lockgate.runner.output.masked_streams import encode_everything, masked_streams
from lockgate.runner.output.progress import Narrator, View
from lockgate.runner.output.publication import Publisher, report_of
from lockgate.runner.output.redaction import Redactor, secrets_of_environment

__all__ = ["execute", "main"]

WATCHED = ("migrate", "downgrade")
"""Commands that a person on a terminal watches."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and end the process with its exit code.

    Never returns: the ``__main__`` that zipapp writes would drop a returned code.
    """
    begin_imports()
    remember_start(os.environ)
    code = execute(sys.argv[1:] if argv is None else argv)
    left = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    if not left and "alembic" in sys.modules:
        # What the application wants to be called at its end, as in any process; where it left threads behind, they
        # would keep a finished pod running for ever, and where nothing of it was imported, nobody waits for this.
        with contextlib.suppress(Exception, SystemExit):
            atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)  # taking down all that the application imported takes longer than many a migration


def execute(argv: Sequence[str]) -> int:
    """Run the command in this process and return its exit code; everything it has to say is said."""
    encode_everything()
    try:
        command, flags = read_arguments(argv)
        if command == "completion":
            sys.stdout.write(completion_script(str(flags["shell"])))
            return 0
        named = flags.get("config") or os.environ.get(variable_of("config"), "")
        configuration = read_configuration(command, flags, os.environ, read_project_file(named, working_directory()))
    except InvalidConfiguration as error:
        return refuse(error, argv, os.environ)
    if configuration.url:
        # Without the line break at the end that `echo` leaves in many a Secret: env.py is to read what Lockgate reads.
        os.environ[configuration.database_env] = configuration.url
    redact = Redactor([configuration.url, *secrets_of_environment(os.environ)])
    ours = cast("TextIO | None", sys.stdout)
    with masked_streams(redact.known):
        return _run(command, configuration, redact, ours)


def _run(command: str, configuration: Configuration, redact: Redactor, ours: TextIO | None) -> int:
    """Run the command; ``ours`` is the stream for our own lines, in which nothing is left to be masked."""
    view = _view(command, configuration)
    narrator = Narrator(output=configuration.output, redact=redact, stream=None if view else ours, view=view)
    publish = Publisher(narrator, configuration.termination_message)
    for name, meant in misspelt(os.environ):
        narrator.tell("misspelt", f"{name} is set, which says nothing to Lockgate. Did you mean {meant}?")
    try:
        _require_alembic()
        # Imported only now: they import Alembic, and a missing Alembic has to become a report.
        from lockgate.runner import commands  # noqa: PLC0415

        return commands.WORK[command](configuration, narrator, publish)
    except LockgateError as error:
        return publish(report_of(error))


def _view(command: str, configuration: Configuration) -> View | None:
    """Return what draws on the terminal, where somebody watches there."""
    stream = cast("TextIO | None", sys.stdout)  # None where the process has none
    if command not in WATCHED or configuration.output != "plain" or stream is None or stream.closed:
        return None
    if not stream.isatty():
        return None
    from lockgate.runner.output.terminal import open_terminal  # noqa: PLC0415  # most runs have no terminal

    return open_terminal(os.environ)


def _require_alembic() -> None:
    missing = []
    for name in ("alembic", "sqlalchemy"):
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:  # no origin: the project's own folder of that name, no package
            missing.append(name)
    if missing:
        raise AlembicNotInstalled(
            f"{sys.executable} cannot import {' and '.join(missing)}.",
            advice="Install lockgate where your application is installed, or name that Python (spec.alembic.python),"
            " for example /app/.venv/bin/python.",
        )
