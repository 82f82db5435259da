"""Reports a configuration that could not be read, to where it asks to be reported, as far as that can be told."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from lockgate.errors import InvalidConfiguration
from lockgate.runner.invocation.arguments import glimpse
from lockgate.runner.invocation.option import variable_of
from lockgate.runner.invocation.project_file import FileSettings, read_project_file, working_directory
from lockgate.runner.output.progress import Narrator
from lockgate.runner.output.publication import Publisher, report_of
from lockgate.runner.output.redaction import Redactor, secrets_of_environment

__all__ = ["refuse"]


def refuse(error: InvalidConfiguration, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Write the report of this error, and return its exit code."""
    flags, file = glimpse(argv), FileSettings()
    with contextlib.suppress(InvalidConfiguration):  # perhaps the very error that is reported
        named = flags.get("config") or environ.get(variable_of("config"), "")
        file = read_project_file(named, working_directory())

    def said(field: str) -> str:
        places = (flags.get(field), environ.get(variable_of(field)), file.values.get(field))
        return next((text for text in places if text), "")

    url = environ.get(said("database_env") or "DATABASE_URL", "")
    output = "json" if said("output") == "json" else "plain"
    narrator = Narrator(output=output, redact=Redactor([url, *secrets_of_environment(environ)]))
    return Publisher(narrator, said("termination_message"))(report_of(error))
