"""The command line: its parser and its help, both from the table of options; and what was probably meant."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

from lockgate import __version__
from lockgate.errors import InvalidConfiguration
from lockgate.runner.invocation.completion import SHELLS
from lockgate.runner.invocation.help_texts import DESCRIPTIONS, EXAMPLES, EXIT_CODES, GENERAL, OF_ALEMBIC, SOURCES
from lockgate.runner.invocation.nearest import nearest
from lockgate.runner.invocation.option import GROUPS, OUTPUT, Option
from lockgate.runner.invocation.options import COMMANDS, OPTIONS

__all__ = ["glimpse", "read_arguments"]

WIDEST = 100
"""Columns of the help at most: longer lines are hard to read."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report a bad command line like any other bad configuration, with our exit code."""
        raise InvalidConfiguration(f"{message[:1].upper()}{message[1:]}.", advice=f"See `{self.prog} --help`.")

    def format_help(self) -> str:
        """Wrap the texts only now that somebody reads them."""
        self.description, self.epilog = _wrapped(self.description or ""), _wrapped(self.epilog or "")
        return super().format_help()


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=_width())
        self._action_max_length = 14  # argparse leaves the indentation of the commands out, and breaks their lines

    def _split_lines(self, text: str, width: int) -> list[str]:
        """Wrap each line of the text by itself: argparse's own way joins them."""
        return [line for part in text.splitlines() for line in textwrap.wrap(part, width, break_on_hyphens=False)]


def _width() -> int:
    import shutil  # noqa: PLC0415  # brings compression along, and most runs have nobody who asks for help

    return max(40, min(shutil.get_terminal_size().columns, WIDEST) - 1)


def read_arguments(argv: Sequence[str]) -> tuple[str, dict[str, str | None]]:
    """Return the command, and the flags that were given, by field; InvalidConfiguration says what was probably meant.

    Prints and ends the process for --help and --version, as argparse does.
    """
    if not argv:
        raise InvalidConfiguration("No command was given.", advice=f"The commands: {', '.join(DESCRIPTIONS)}.")
    if argv[0].startswith("-") and argv[0] not in ("-h", "--help", "--version"):
        raise InvalidConfiguration(
            f"{argv[0].partition('=')[0]} stands where a command is expected.",
            advice="The command comes first, as in `lockgate migrate --output json`.",
        )
    if not argv[0].startswith("-") and argv[0] not in DESCRIPTIONS:
        if argv[0] in OF_ALEMBIC:
            raise InvalidConfiguration(f"There is no command {argv[0]!r}.", advice=OF_ALEMBIC[argv[0]])
        raise _no_such("command", argv[0], list(DESCRIPTIONS), f"The commands: {', '.join(DESCRIPTIONS)}.")
    known, rest = _parser(argv[0]).parse_known_args(list(argv))
    values = vars(known)
    command = str(values.pop("command"))
    if rest:
        flag = rest[0].partition("=")[0]
        flags = [option.flag for option in OPTIONS if command in option.commands and not option.positional]
        if flag in {option.flag for option in OPTIONS} - set(flags):
            raise InvalidConfiguration(
                f"`lockgate {command}` has no {flag}.", advice=f"See `lockgate {command} --help`."
            )
        if not flag.startswith("-") and "--target" in flags:
            raise InvalidConfiguration(
                f"`lockgate {command}` takes no argument, and {flag!r} is one.",
                advice=f"If that is the revision to go to: `--target {flag}`.",
            )
        what = "flag" if flag.startswith("-") else "argument"
        raise _no_such(what, flag, flags, f"See `lockgate {command} --help`.")
    return command, values


def glimpse(argv: Sequence[str]) -> dict[str, str]:
    """Return the values of the flags in a command line that may be wrong as a whole, by field."""
    fields = {option.flag: option.field for option in OPTIONS if not option.switch and not option.positional}
    found = {}
    for word, following in zip(argv, [*argv, ""][1:], strict=True):
        flag, equals, value = word.partition("=")
        if flag in fields:
            found[fields[flag]] = value if equals else following
    return found


def _no_such(what: str, said: str, known: list[str], otherwise: str) -> InvalidConfiguration:
    near = nearest(said, known)
    advice = f"Did you mean `{near}`?" if near else otherwise
    return InvalidConfiguration(f"There is no {what} {said!r}.", advice=advice)


def _parser(first: str) -> argparse.ArgumentParser:
    """Return what reads a command line with this ``first`` word: it knows all commands only where that is none."""
    parser = _Parser(prog="lockgate", description=GENERAL, epilog=EXIT_CODES, formatter_class=_Help, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"lockgate {__version__}")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", title="commands", prog="lockgate"
    )
    for name in [first] if first in DESCRIPTIONS else DESCRIPTIONS:
        summary, text = DESCRIPTIONS[name]
        examples = f"examples:\n{textwrap.indent(EXAMPLES[name], '  ')}" if name in EXAMPLES else ""
        epilog = (examples, SOURCES, EXIT_CODES) if name in COMMANDS else (examples,)
        command = commands.add_parser(
            name,
            usage=" ".join(("lockgate", name, "[OPTIONS]", *_positional(name))),
            help=summary,
            description=text,
            epilog="\n\n".join(part.strip("\n") for part in epilog),
            formatter_class=_Help,
            allow_abbrev=False,
            add_help=False,
        )
        if name == "completion":
            command.usage = "lockgate completion SHELL"
            command.add_argument("shell", choices=SHELLS, help="the shell that is to read the script")
            command.add_argument("-h", "--help", action="help", help="show this and end")
        for group in GROUPS:
            options = [option for option in OPTIONS if option.group == group and name in option.commands]
            place = command.add_argument_group(group) if options else command
            for option in options:
                _add(place, option)
            if group == OUTPUT and options:
                place.add_argument("-h", "--help", action="help", help="show this and end")
    return parser


def _positional(command: str) -> list[str]:
    return [option.metavar for option in OPTIONS if option.positional and command in option.commands]


def _add(place: Any, option: Option) -> None:
    default = f" (default: {option.default})" if option.default and not option.switch else ""
    choices = f": {' or '.join(option.choices)}" if option.choices and option.choices[0] not in option.help else ""
    key = "" if option.never_in_file else f", {option.name}"
    text = f"{option.help}{choices}{default}\n[{option.variable}{key}]".replace("%", "%%")
    if option.positional:
        place.add_argument(option.field, help=text, metavar=option.metavar, nargs="?")
    elif option.switch:
        place.add_argument(option.flag, dest=option.field, help=text, action="store_const", const="true")
    else:
        place.add_argument(option.flag, dest=option.field, help=text, metavar=option.metavar)


def _wrapped(text: str) -> str:
    """Break paragraphs to the width of the terminal; what has an indented line stays as it is."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(
        paragraph if "\n " in f"\n{paragraph}" else textwrap.fill(paragraph, _width(), break_on_hyphens=False)
        for paragraph in paragraphs
    )
