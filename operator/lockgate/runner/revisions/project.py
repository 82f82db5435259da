"""The migration environment in the image: Alembic's configuration, the script folder, and a digest of both."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from alembic.config import CommandLine, Config
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionMap

from lockgate.errors import InvalidConfiguration, LockgateError
from lockgate.runner.database.database_url import PLACEHOLDERS
from lockgate.runner.database.outcome import brief
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.invocation.options import DATABASE_ENV
from lockgate.runner.revisions.outline import configuration_files, digest_of, enters_env_first
from lockgate.runner.wording import sentence

__all__ = ["Project", "first_revisions", "load_project", "script_folders"]


class Project(NamedTuple):
    """What Alembic needs to run, and what Lockgate needs to know before it does."""

    config: Config
    script: ScriptDirectory
    digest: str
    """See `digest_of`."""
    folders: tuple[str, ...]
    """Where env.py and the revision files are."""
    url: str
    """Database URL for own connections; empty where only env.py may know one. A secret."""
    version_schema: str
    """Schema of the version table as configured, or nothing: as far as it is known before env.py has run."""
    version_table: str
    objection: InvalidConfiguration | None = None
    """Why there is no URL."""
    env_first: bool = False
    """env.py has to be entered before any session is opened, for its way to connect."""
    unsaid_url: str = ""
    """The URL, where Alembic's configuration has none: env.py may go by that. A secret."""

    def say_url(self) -> bool:
        """Set the URL in the configuration if it has none; return whether that was so."""
        if not self.unsaid_url or _configured_url(self.config):
            return False
        _set_url(self.config, self.unsaid_url)
        return True

    @property
    def has_revisions(self) -> bool:
        """Whether the revision files are loaded: Alembic does that when it first needs them."""
        return "_revision_map" in vars(self.script.revision_map)

    def forget_modules(self) -> None:
        """Load the revision files again: one that runs once more has to find its module as it was at first."""
        self.script.revision_map = RevisionMap(self.script._load_revisions)

    def covers(self, folders: tuple[str, ...]) -> bool:
        """Return whether the digest changes with every file in these folders."""
        return all(any(Path(folder).is_relative_to(known) for known in self.folders) for folder in folders)


def load_project(configuration: Configuration, folder: Path, environ: Mapping[str, str]) -> Project:
    """Read the configuration as the `alembic` command would, from ``folder``; nothing of the application is run."""
    before = dict(environ)  # a package that is imported to find a folder in it may change it
    ini, toml = configuration_files(configuration.config, folder)
    if toml and "toml_file" not in Config.__init__.__code__.co_varnames:
        if ini is None:
            raise InvalidConfiguration(
                "This image's Alembic does not read pyproject.toml.", advice="It needs Alembic 1.16, or an alembic.ini."
            )
        toml = None
    more: dict[str, Any] = {"toml_file": str(toml)} if toml else {}
    config = Config(
        str(ini) if ini else None, ini_section=configuration.section, cmd_opts=_options(configuration), **more
    )
    try:
        configured = _configured_url(config)
        url, objection = _settle_url(configured, configuration, is_set=configuration.database_env in before)
        if configured and url != configured and configured in PLACEHOLDERS:
            _set_url(config, url)  # with Alembic nothing but env.py could make something of it
        script = ScriptDirectory.from_config(config)
        table = config.get_main_option("version_table") or "alembic_version"
        schema = config.get_main_option("version_table_schema") or ""
        folders = script_folders(ScriptDirectory.from_config(config))
        digest = digest_of(configuration, [file for file in (ini, toml) if file], folders, url, before)
    except LockgateError:
        raise
    except Exception as error:  # a script_location like `shop:migrations` imports the application
        raise InvalidConfiguration(
            sentence(f"Alembic's configuration in {ini or toml} cannot be used: {brief(error)}"),
            advice="Correct it, or name another file (--config, spec.alembic.config) or section (--section).",
        ) from error
    prepended = config.get_main_option("prepend_sys_path") or ""
    first = enters_env_first(configuration, Path(script.dir), folder, prepended)
    unsaid = "" if configured else url
    return Project(config, script, digest, folders, url, schema, table, objection, first, unsaid)


def script_folders(script: ScriptDirectory) -> tuple[str, ...]:
    """Return where env.py and the revision files are.

    Not of the ScriptDirectory that env.py gets: Alembic looks once, and env.py may set ``version_locations`` before.
    """
    # Alembic has no public name for the folders of the revision files.
    return tuple(sorted({os.path.realpath(path) for path in map(str, (script.dir, *script._version_locations))}))


def first_revisions(script: ScriptDirectory) -> list[tuple[str, str]]:
    """Return the revisions that build on nothing, and their files; none where the files cannot be loaded."""
    try:
        return [(one.revision, one.path) for one in script.walk_revisions() if not one._all_down_revisions]
    except (Exception, SystemExit):  # revision files are the user's code: anything can come out of them
        return []


def _options(configuration: Configuration) -> Any:
    """Return what `alembic -x ... upgrade <target>`, or downgrade, would have parsed: env.py may read it."""
    back = configuration.command == "downgrade"
    words = ["downgrade", configuration.destination] if back else ["upgrade", configuration.target]
    options = CommandLine(prog="alembic").parser.parse_args(words)
    # Not through the parser: it would take a key that begins with a dash for an option.
    options.x = [f"{key}={value}" for key, value in configuration.args] or None
    return options


def _configured_url(config: Config) -> str:
    try:
        return (config.get_main_option("sqlalchemy.url") or "").strip()
    except configparser.Error:
        # An interpolation that only env.py completes. Alembic itself never reads this option either.
        return ""


def _set_url(config: Config, url: str) -> None:
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))


def _settle_url(
    configured: str, configuration: Configuration, *, is_set: bool
) -> tuple[str, InvalidConfiguration | None]:
    """Return the URL for own connections, or why there is none."""
    if configuration.url:
        return configuration.url, None
    if configured not in PLACEHOLDERS:
        return configured, None
    error = InvalidConfiguration(
        f"The variable {configuration.database_env} is {'empty' if is_set else 'not set'}, and {_no_url(configured)}.",
        advice="Set the variable to the database URL, or name another one (--database-env, spec.database.env)."
        + (" On Kubernetes, look whether the key of the Secret is empty." if is_set else ""),
    )
    if configuration.database_env != DATABASE_ENV:
        raise error  # somebody has named it, and env.py may find another database
    return "", error


def _no_url(configured: str) -> str:
    if configured:
        return "sqlalchemy.url of Alembic's configuration is still the example that `alembic init` wrote"
    return "Alembic's configuration has no sqlalchemy.url"
