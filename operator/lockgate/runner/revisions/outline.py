"""What a run has to know of the project before it does anything, read without Alembic, whose import takes long.

Where the configuration is not plain (pyproject.toml, a package that another one holds, anything wrong in it), there is
no outline, and Alembic is asked. A digest is recorded only of what Alembic itself read: an outline that saw something
else has another digest, and its run goes the full way.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

from lockgate.errors import InvalidConfiguration
from lockgate.runner.database.database_url import PLACEHOLDERS, destination
from lockgate.runner.invocation.configuration import Configuration
from lockgate.runner.revisions.own_way import has_own_way

__all__ = [
    "Outline",
    "configuration_files",
    "digest_of",
    "digest_of_files",
    "enters_env_first",
    "outline",
    "secrets_in",
]

_OF_THIS_PROCESS = re.compile(r"LOCKGATE_|KUBERNETES_|(?:HOSTNAME|PWD|OLDPWD|SHLVL|TERM|_)$")
"""Variables that differ from pod to pod, and decide nothing in env.py."""
_SECRET = re.compile(
    r"(?:^|_)(?:pass|pwd|[a-z0-9]*(?:password|passwd|passphrase|secret|token|credential)s?)(?:_|$)", re.IGNORECASE
)
"""Whole words of a name: COMPASS_SCHEMA is none."""
_OPTIONS = (
    *("script_location", "version_locations", "path_separator", "version_path_separator", "prepend_sys_path"),
    *("version_table", "version_table_schema"),
)
_SEPARATORS = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}


class Outline(NamedTuple):
    """What is known without Alembic; each of these is the same as in `Project`."""

    digest: str
    url: str
    version_schema: str
    version_table: str
    objection: InvalidConfiguration | None = None
    env_first: bool = False


def outline(configuration: Configuration, folder: Path, environ: Mapping[str, str]) -> Outline | None:
    """Read the configuration; None where only Alembic can say what it means."""
    try:
        ini, toml = configuration_files(configuration.config, folder)
    except InvalidConfiguration:
        return None
    if ini is None or toml is not None:
        return None
    parser = configparser.ConfigParser({"here": ini.absolute().parent.as_posix()})
    try:
        parser.read([ini], encoding="locale")
        options = {name: parser.get(configuration.section, name, fallback="").strip() for name in _OPTIONS}
        url = configuration.url or parser.get(configuration.section, "sqlalchemy.url", fallback="").strip()
    except (configparser.Error, UnicodeError):
        return None
    script = _located(options["script_location"], options["prepend_sys_path"], folder)
    folders = _folders(options, script, folder)
    if script is None or folders is None or url in PLACEHOLDERS:
        return None
    return Outline(
        digest=digest_of(configuration, [ini], folders, url, environ),
        url=url,
        version_schema=options["version_table_schema"],
        version_table=options["version_table"] or "alembic_version",
        env_first=enters_env_first(configuration, script, folder, options["prepend_sys_path"]),
    )


def enters_env_first(configuration: Configuration, script: Path, folder: Path, prepended: str) -> bool:
    """Return whether env.py has to be entered before any session is opened, for its way to connect."""
    if configuration.connect != "Auto":
        return configuration.connect == "Environment"
    return has_own_way(script / "env.py", folder, prepended)


def _folders(options: Mapping[str, str], script: Path | None, folder: Path) -> tuple[str, ...] | None:
    """Return where env.py and the revision files are; None where that is not plain, or there is no env.py."""
    if script is None or not (script / "env.py").is_file():
        return None
    named = options["version_locations"]
    if not named:
        found: list[Path | None] = [script / "versions"]
    else:
        separator = _SEPARATORS.get(options["path_separator"] or options["version_path_separator"])
        names = named.split(separator) if separator else re.split(r", *|(?: +)", named)
        found = [_located(name.strip(), options["prepend_sys_path"], folder) for name in names if name]
    if None in found:
        return None
    return tuple(sorted({os.path.realpath(path) for path in (script, *found) if path is not None}))


def _located(name: str, prepended: str, folder: Path) -> Path | None:
    """Return the folder that is named by a path, or as ``package:folder``; a package is looked for, not imported."""
    if not name:
        return None
    if os.path.isabs(name) or ":" not in name:
        return folder / name
    package, *rest = name.split(":")
    if "." in package or prepended not in ("", "."):
        return None
    spec = PathFinder.find_spec(package, [*([str(folder)] if prepended else []), *sys.path])
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]).joinpath(*rest) if len(places) == 1 else None


def configuration_files(named: str, folder: Path) -> tuple[Path | None, Path | None]:
    """Return (.ini file, pyproject.toml); the one that is named must exist, of the defaults one has to."""
    if named and named != "alembic.ini":  # that is what Alembic itself looks for, beside pyproject.toml
        file = folder / named
        if not file.is_file():
            raise InvalidConfiguration(
                f"Alembic's configuration {named!r} does not exist in {folder}.",
                advice="Name it as seen from there: --config, spec.alembic.config.",
            )
        if file.name != "pyproject.toml":
            beside = file.with_name("pyproject.toml")
            return file, beside if _has_alembic(beside) else None
        return None, file
    ini, toml = folder / "alembic.ini", folder / "pyproject.toml"
    found = (ini if ini.is_file() else None, toml if _has_alembic(toml) else None)
    if not any(found):
        raise InvalidConfiguration(
            f"Neither alembic.ini nor a pyproject.toml with [tool.alembic] is in {folder}.",
            advice="Start lockgate in the folder of alembic.ini, or name the file: --config, spec.alembic.config.",
        )
    return found


def _has_alembic(file: Path) -> bool:
    try:
        return any(line.strip().startswith("[tool.alembic") for line in file.read_text("utf-8", "replace").splitlines())
    except OSError:
        return False


def digest_of(
    configuration: Configuration, files: list[Path], folders: tuple[str, ...], url: str, environ: Mapping[str, str]
) -> str:
    """Return what changes with everything that can be known to decide what a run would do.

    Script folders, configuration, arguments, target, where the URL leads, environment: many an env.py takes the version
    table's schema from a variable.
    """
    said = (configuration.section, configuration.target, sorted(configuration.args), destination(url))
    return _digest(files, folders, (*said, _surroundings(environ, configuration.database_env)))


def digest_of_files(folders: tuple[str, ...]) -> str:
    """Return a digest of env.py and the revision files alone: the same in every environment and for every target."""
    return _digest([], folders, ())


def _surroundings(environ: Mapping[str, str], database_env: str) -> list[tuple[str, str]]:
    """Return the variables that env.py may go by; no secrets, and not the URL, whose password changes nothing."""
    return sorted(item for item in environ.items() if _counts(item[0], database_env) and not _SECRET.search(item[0]))


def secrets_in(environ: Mapping[str, str], database_env: str) -> list[tuple[str, str]]:
    """Return the variables that hold a secret by their name; env.py may go by these too."""
    return sorted(item for item in environ.items() if _counts(item[0], database_env) and _SECRET.search(item[0]))


def _counts(name: str, database_env: str) -> bool:
    return name != database_env and not _OF_THIS_PROCESS.match(name)


def _digest(files: list[Path], folders: tuple[str, ...], said: tuple[object, ...]) -> str:
    total = hashlib.sha256(json.dumps(said).encode())
    for file in files:
        total.update(hashlib.sha256(file.read_bytes()).digest())
    for folder in folders:
        for name in sorted(_sources(folder, "")) if os.path.isdir(folder) else ():
            with open(os.path.join(folder, name), "rb") as source:
                total.update(os.fsencode(name) + b"\0" + hashlib.sha256(source.read()).digest())
    return total.hexdigest()


def _sources(folder: str, below: str) -> Iterator[str]:
    """Yield the files in a folder and its folders, as seen from the first; pathlib takes three times as long."""
    with os.scandir(os.path.join(folder, below)) as entries:
        for entry in entries:
            name = os.path.join(below, entry.name)
            if entry.is_dir(follow_symlinks=False):
                yield from () if entry.name == "__pycache__" else _sources(folder, name)
            elif entry.is_file():
                yield name
