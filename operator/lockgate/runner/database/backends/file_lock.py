"""The lock of a SQLite database: ``flock`` on a file beside it.

Leader and fence are one lock here. On a server they are two, because the session that leads is not the one that works,
and either can end without the other. Here both are this process: the kernel gives the lock back when the process ends,
whatever ended it, and what its SQLite connections had not committed is rolled back by whoever opens the file next. So
one lock per process and file says the same as both.

The file stays when the lock is given back, and means nothing by then: to delete it would let two processes lock two
files of one name. It holds a line about who locked it last. Neither a program that env.py starts nor a child that it
forks keeps the lock beyond this process.

``flock`` is a matter of one kernel. On a network file system it depends on the mount whether other machines see it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from typing import ClassVar

from lockgate.errors import InvalidConfiguration
from lockgate.runner.database.lock import Holder

__all__ = ["SUFFIX", "FileLock", "read_holder"]

SUFFIX = ".lockgate"
"""What the lock's file has behind the database's name."""


class FileLock:
    """The lock of one database file, for this process as a whole: whoever in it asks again has it."""

    _held: ClassVar[dict[str, int]] = {}
    """Open descriptors of the locks of this process, by path."""

    def __init__(self, database: str, mine: Holder) -> None:
        """Take the database's absolute path, and what others are to read of this process."""
        self.path = database + SUFFIX
        self._mine = mine

    def try_acquire(self) -> bool:
        """Take the lock if it is free."""
        if self.is_held():
            return True
        descriptor = _opened(self.path)
        if not (_locked(descriptor) and _is_file(descriptor, self.path)):
            os.close(descriptor)
            return False
        line = json.dumps({"pid": self._mine.pid, "name": self._mine.name, "since": self._mine.since})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, line.encode() + b"\n", 0)
        self._held[self.path] = descriptor
        return True

    def is_held(self) -> bool:
        """Return whether this process has it, and the file is still the one that others would lock."""
        descriptor = self._held.get(self.path)
        if descriptor is None:
            return False
        if _is_file(descriptor, self.path):
            return True
        self.release()
        return False

    def release(self) -> None:
        """Give the lock back; the end of the process would do it as well."""
        descriptor = self._held.pop(self.path, None)
        if descriptor is not None:
            os.close(descriptor)

    def holder(self) -> Holder | None:
        """Say who has it, as it wrote into the file."""
        return _described(self.path)


def _leave() -> None:
    """Close what a forked child has inherited; the lock stays with the process that has it."""
    for descriptor in FileLock._held.values():
        os.close(descriptor)
    FileLock._held.clear()


os.register_at_fork(after_in_child=_leave)


def read_holder(database: str) -> Holder | None:
    """Return who has the lock of a database, without taking it for longer than a look; None where it is free."""
    path = database + SUFFIX
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _described(path) or Holder(0, "an unknown process")
    finally:
        os.close(descriptor)
    return None


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InvalidConfiguration(
            f"The lock file {path} cannot be made: {error.strerror}.",
            advice="SQLite needs the right to write in the database's folder for its journal, and so does the lock.",
        ) from error


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_file(descriptor: int, path: str) -> bool:
    """Return whether the file that is open is the one at ``path``: it may have been deleted, and made anew."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _described(path: str) -> Holder | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError), open(path, encoding="utf-8") as file:
        found = json.load(file)
        return Holder(int(found["pid"]), str(found["name"]), str(found["since"]))
    return None
