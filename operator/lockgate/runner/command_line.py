"""The command ``lockgate``: reads what it was told, runs it, writes the report, ends the process with its exit code."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from lockgate import __version__
from lockgate.errors import AlembicNotInstalled, InvalidConfiguration, LockgateError
from lockgate.runner.configuration import read_configuration
from lockgate.runner.help_texts import DESCRIPTIONS, EXIT_CODES
from lockgate.runner.options import OPTIONS
from lockgate.runner.progress import Narrator
from lockgate.runner.publication import Publisher, plain_report
from lockgate.runner.redaction import Redactor

__all__ = ["execute", "main"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report a bad command line like any other bad configuration, with our exit code."""
        raise InvalidConfiguration(f"{message[:1].upper()}{message[1:]}.", advice=f"See `{self.prog} --help`.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lockgate",
        description="Applies Alembic migrations: one process at a time, bounded lock waits, a clear report.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lockgate {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (summary, text) in DESCRIPTIONS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=text,
            epilog=f"Every flag can be given as the variable named behind it; the flag wins.\n\n{EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for option in OPTIONS:
            if name in option.commands:
                default = f" (default: {option.default})" if option.default and not option.switch else ""
                help_text = f"{option.help}{default} [{option.variable}]".replace("%", "%%")
                value: dict[str, Any] = {"metavar": "VALUE"}
                if option.switch:
                    value = {"action": "store_const", "const": "true"}
                command.add_argument(option.flag, dest=option.field, help=help_text, **value)
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and end the process with its exit code.

    Never returns: the ``__main__`` that zipapp writes would drop a returned code.
    """
    code = execute(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    left = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    if left:
        # The application started threads when it was imported. They would keep a finished pod running for ever.
        os._exit(code)
    sys.exit(code)


def execute(argv: Sequence[str]) -> int:
    """Run the command in this process and return its exit code; everything it has to say is said."""
    try:
        flags = vars(_parser().parse_args(list(argv)))
        command = flags.pop("command")
        configuration = read_configuration(command, flags, os.environ)
    except InvalidConfiguration as error:
        return _refuse(error, os.environ)
    narrator = Narrator(output=configuration.output, redact=Redactor([configuration.url]))
    publish = Publisher(narrator, configuration.termination_message)
    try:
        _require_alembic()
        # Imported only now: they import Alembic, and a missing Alembic has to become a report.
        from lockgate.runner import commands  # noqa: PLC0415

        return commands.WORK[command](configuration, narrator, publish)
    except LockgateError as error:
        return publish(plain_report(error))


def _refuse(error: InvalidConfiguration, environ: Mapping[str, str]) -> int:
    """Report a configuration that could not be read, as far as it is known where the report is to go."""
    output = "json" if environ.get("LOCKGATE_OUTPUT") == "json" else "plain"
    url = environ.get(environ.get("LOCKGATE_DATABASE_ENV") or "DATABASE_URL", "")
    narrator = Narrator(output=output, redact=Redactor([url]))
    return Publisher(narrator, environ.get("LOCKGATE_TERMINATION_MESSAGE", ""))(plain_report(error))


def _require_alembic() -> None:
    missing = []
    for name in ("alembic", "sqlalchemy"):
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:  # no origin: the project's own folder of that name, no package
            missing.append(name)
    if missing:
        raise AlembicNotInstalled(
            f"{sys.executable} cannot import {' and '.join(missing)}.",
            advice="Set alembic.python to the Python that has your application, for example /app/.venv/bin/python.",
        )
