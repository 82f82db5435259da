"""What decides in env.py besides the project's own files: what the fast path remembers of it, and compares.

env.py may read a settings file, list a folder, import the application, or go by a variable that holds a secret. The
names of all these are remembered, and one digest over what they hold. A file that is gone, one that is new in a listed
folder, another version of an installed package: all of them make another digest.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

__all__ = ["LARGEST", "Inputs", "Secrets", "digest_of_folder", "is_metadata", "is_unchanged", "written"]

LARGEST = 64 * 1024 * 1024
"""Bytes of the largest file that a run without work reads to find it unchanged."""

_METADATA = (".dist-info", ".egg-info", ".egg-link", ".pth")
"""How the names of what pip writes beside packages end; those of the first two contain the version."""

_KEYS = ("files", "folders", "packages", "salt", "digest")


class Inputs(NamedTuple):
    """Names of what env.py goes by."""

    files: tuple[str, ...] = ()
    """Paths of files that it read, or tried to read, and of the application's modules."""
    folders: tuple[str, ...] = ()
    """Folders that it listed."""
    packages: tuple[str, ...] = ()
    """Folders of installed packages (site-packages) from which it imported."""


Secrets = Sequence[tuple[str, str]]
"""Variables that hold a secret, which are no part of the digest of the project, and their values."""


def digest_of_inputs(inputs: Inputs, secrets: Secrets, salt: str) -> str:
    """Read everything that is named, and return one digest; ``salt`` keeps secrets from being guessed by it."""
    total = hashlib.blake2b(digest_size=20, key=salt.encode()[:64])
    for path in sorted(inputs.files):
        total.update(_of_file(path))
    for folder in inputs.folders:
        total.update(digest_of_folder(folder))
    for folder in inputs.packages:
        total.update(_of_names(name for name in _names(folder) if is_metadata(name)))
    total.update(json.dumps(secrets).encode())
    return total.hexdigest()


def digest_of_folder(folder: str) -> bytes:
    """Return a digest of the names in a folder; Python itself adds one."""
    return _of_names(name for name in _names(folder) if name != "__pycache__")


def is_metadata(name: str) -> bool:
    """Return whether a name in a folder of installed packages says which package of which version is there."""
    return name.endswith(_METADATA)


def written(inputs: Inputs, secrets: Secrets, salt: str) -> str:
    """Return names, salt and digest as one text, to be kept; files by their folders, which many of them share."""
    by_folder: dict[str, list[str]] = {}
    for path in inputs.files:
        folder, name = os.path.split(path)
        by_folder.setdefault(folder, []).append(name)
    digest = digest_of_inputs(inputs, secrets, salt)
    kept = (by_folder, inputs.folders, inputs.packages, salt, digest)
    return json.dumps(dict(zip(_KEYS, kept, strict=True)), separators=(",", ":"))


def is_unchanged(text: str, secrets: Secrets) -> bool:
    """Return whether everything that is named in a text of `written` still is as it was then."""
    try:
        by_folder, folders, packages, salt, digest = (json.loads(text)[name] for name in _KEYS)
        files = tuple(os.path.join(folder, name) for folder, names in by_folder.items() for name in names)
        found = digest_of_inputs(Inputs(files, tuple(folders), tuple(packages)), secrets, salt)
    except (ValueError, LookupError, TypeError, AttributeError):  # a text of another make
        return False
    return bool(found == digest)


def _of_file(path: str) -> bytes:
    try:
        if os.path.getsize(path) > LARGEST:
            return b"large"
        with open(path, "rb") as file:  # pathlib takes three times as long
            return b"is" + hashlib.blake2b(file.read(), digest_size=20).digest()
    except OSError as error:
        return f"none {type(error).__name__}".encode()


def _names(folder: str) -> Iterator[str]:
    try:
        yield from sorted(os.listdir(folder))
    except OSError:
        yield "\0"  # no name of a file: a folder that is not there is not an empty one


def _of_names(names: Iterable[str]) -> bytes:
    return hashlib.blake2b("\0".join(names).encode("utf-8", "surrogateescape"), digest_size=20).digest()
