"""What an option is: the one shape behind a flag, a variable, a key of pyproject.toml, a line of help. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["GROUPS", "LOCKS", "OUTPUT", "POLICIES", "WHAT", "WHO", "OneOf", "Option", "variable_of"]

WHAT, LOCKS, POLICIES, OUTPUT, WHO = (
    "what to migrate",
    "locks and times",
    "policies and checks",
    "output",
    "who runs",
)
GROUPS = (WHAT, LOCKS, POLICIES, OUTPUT, WHO)
"""Headings of the help, in their order."""


def variable_of(field: str) -> str:
    """Return the environment variable that says the same as the flag of a field."""
    return f"LOCKGATE_{field.upper()}"


class OneOf:
    """Reads a text that has to be one of these, as written."""

    def __init__(self, choices: tuple[str, ...]) -> None:
        self.choices = choices

    def __call__(self, text: str) -> str:
        """Return the text; ValueError where it is none of them."""
        if text not in self.choices:
            raise ValueError(f"not one of {', '.join(self.choices)}")
        return text


class Option(NamedTuple):
    """One thing that can be said: as a flag, as a variable, in pyproject.toml. The first of these wins."""

    field: str
    """The field of `Configuration` that holds it; its other names are made of this one."""
    default: str
    parse: Callable[[str], Any]
    help: str
    commands: tuple[str, ...]
    group: str = WHAT
    switch: bool = False
    """The flag takes no value: it means ``true``."""
    metavar: str = "VALUE"
    """What the help calls the value; ``FILE`` is completed with the names of files."""
    toml: type = str
    """The type of the value in pyproject.toml: str, int, bool, dict (a table) or list (an array of tables)."""
    never_in_file: str = ""
    """Why it cannot be said in a file that is committed; empty where it can."""
    positional: bool = False
    """It stands on the command line without a flag, and has to be said."""

    @property
    def variable(self) -> str:
        """The environment variable."""
        return variable_of(self.field)

    @property
    def name(self) -> str:
        """The flag without its dashes, which is the key in pyproject.toml too."""
        return self.field.replace("_", "-")

    @property
    def flag(self) -> str:
        """The flag of the command line; of what has none, what the help calls it."""
        return self.metavar if self.positional else f"--{self.name}"

    @property
    def choices(self) -> tuple[str, ...]:
        """All values there are, where those can be listed."""
        return self.parse.choices if isinstance(self.parse, OneOf) else ()
