"""Records what env.py goes by and does besides its revisions, so that the fast path claims no more than it knows.

Python tells an audit hook of every file that is opened and every folder that is listed, of programs that are started
and of sockets that are connected, whoever does it. The hook cannot be removed again: it is registered once, by a run
that enters env.py, and returns at once while no `InputRecorder` is active. Statements come from `EnvironmentSessions`.

`unheard` tells of what Python does not. Not seen: what C code reads by itself (a driver its certificates), the time of
day.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from lockgate.runner.database.connection import is_own_thread, own_work
from lockgate.runner.entry.unheard import listening
from lockgate.runner.revisions.inputs import LARGEST, Inputs, digest_of_folder, is_metadata
from lockgate.runner.sql.lexer import without_comments, without_literals

__all__ = ["InputRecorder", "is_session_statement"]

_IMPORTS = "<frozen importlib._bootstrap_external>"
"""Where Python's import reads and lists files: modules are taken from ``sys.modules``, with all that was imported
before."""
_NO_FILES = ("/proc/", "/sys/", "/dev/")
"""What is below these is made by the kernel at the moment when it is read."""
_PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn")
_ASKS_SYSTEM = ("ctypes/util.py", "platform.py", "uuid.py")
"""Modules of Python's own that start programs to learn what machine this is."""
_SESSION = re.compile(
    r"\s*(?:SET|RESET|SHOW|BEGIN|START|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE|DISCARD|LISTEN|UNLISTEN|SELECT)\b",
    re.IGNORECASE,
)
_READS = re.compile(r"\b(?:FROM|INTO|TABLE)\b|;\s*\S", re.IGNORECASE)
_CALL = re.compile(r"([\w$.]*)\s*\(")
"""A name in quotes is none here: it may be of any function."""
_HARMLESS = re.compile(
    r"(?:pg_catalog\.)?(?:set_config|current_setting|current_schemas?|current_database|version|now|clock_timestamp|cast"
    r"|pg_backend_pid|pg_is_in_recovery|coalesce|nullif|varchar|char|numeric|to_regclass"
    r"|pg_(?:try_)?advisory_(?:xact_)?(?:un)?lock(?:_shared|_all)?|hashtext(?:extended)?|get_lock|release_lock)$",
    re.IGNORECASE,
)


def is_session_statement(statement: str) -> bool:
    """Return whether a statement only sets or asks the session, and reads and changes nothing that would stay."""
    bare = without_literals(without_comments(statement))
    if not _SESSION.match(bare) or _READS.search(bare):
        return False
    return all(_HARMLESS.match(name) for name in _CALL.findall(bare))


class InputRecorder:
    """Records over all entries into env.py of one run; use it as a context manager around each."""

    def __init__(self) -> None:
        self._covered: tuple[str, ...] = ()
        self._read: set[str] = set()
        self._listed: dict[str, bytes] = {}
        """Folders, and a digest of the names that were in them then."""
        self._written: set[str] = set()
        self._connected: set[tuple[Any, ...]] = set()
        self._paused = self._alembic = 0
        self._unheard = contextlib.ExitStack()
        self.work: dict[str, None] = {}
        """What env.py does besides its revisions, in words; the fast path would leave it out."""

    def __enter__(self) -> InputRecorder:
        """Begin to record."""
        _register()
        _pythons_own()  # found out now, and not while something is heard
        _temporary()
        _active.append(self)
        self._unheard.enter_context(listening(self._missed, self._uses_driver))
        return self

    def __exit__(self, *_: object) -> None:
        """Stop recording."""
        self._unheard.close()
        _active.remove(self)

    @contextlib.contextmanager
    def alembics_own(self) -> Iterator[None]:
        """Take statements for Alembic's, a revision's or Lockgate's own, and for none of env.py's."""
        self._alembic += 1
        try:
            yield
        finally:
            self._alembic -= 1

    @contextlib.contextmanager
    def revision(self) -> Iterator[None]:
        """Record nothing while a revision is executed: without pending revisions none is."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    def statement(self, statement: str) -> None:
        """Take note of a statement that env.py executes."""
        if self in _active and not self._alembic and not self._paused and not is_session_statement(statement):
            self.work["it executes SQL of its own, besides its revisions"] = None

    def inputs(self, *, covered: Iterable[str], addresses: Iterable[tuple[str, int]], started: int) -> Inputs:
        """Return what env.py went by, and enter into `work` what speaks against the fast path.

        ``covered``: folders of which the project's digest knows every file. ``addresses``: hosts and ports of the
        databases that it migrates. ``started``: nanoseconds of the time before which the run read nothing.
        """
        self._covered = tuple(os.path.join(folder, "") for folder in covered)
        others = self._connected and self._connected - set(_resolved(addresses))
        if others:
            self.work["it connects to something other than the database"] = None
        read = {path for path in self._read - self._written if not self._is_covered(path)}
        listed = {path for path in self._listed if not self._is_covered(os.path.join(path, ""))}
        modules, packages = self._modules()
        files = {path for path in read if not _is_described(path)} | modules
        folders = {path for path in listed if not _is_described(path)}
        packages |= {_packages_of(path) for path in (*read, *(os.path.join(path, "x") for path in listed))} - {""}
        found = Inputs(tuple(sorted(files)), tuple(sorted(folders - packages)), tuple(sorted(packages)))
        for path in found.files:
            self._examine(path, started)
        for path in found.folders:
            if digest_of_folder(path) != self._listed[path]:
                self._has_changed(path)
        return found

    def _is_covered(self, path: str) -> bool:
        return os.path.realpath(path).startswith(self._covered) or path.startswith(self._covered)

    def _examine(self, path: str, started: int) -> None:
        """Object to what is too large to be read again, and to what has changed since env.py read it."""
        try:
            found = os.stat(path)
        except OSError:
            return
        if found.st_size > LARGEST:
            self.work[f"it reads {os.path.basename(path)}, which is large"] = None
        if max(found.st_mtime_ns, found.st_ctime_ns) > started:
            self._has_changed(path)

    def _has_changed(self, path: str) -> None:
        self.work[f"{os.path.basename(path)}, which it reads, was changed while it ran"] = None

    def _modules(self) -> tuple[set[str], set[str]]:
        """Return the files of the application's modules, and the folders of installed packages that were imported."""
        files: set[str] = set()
        packages: set[str] = set()
        for name, module in list(sys.modules.items()):
            path = getattr(module, "__file__", None)
            if not isinstance(path, str) or name.partition(".")[0] in ("__main__", "lockgate") or _is_pythons_own(path):
                continue
            path = _existing(os.path.abspath(path))
            folder = _packages_of(path)
            packages |= {folder} - {""}
            if path and not self._is_covered(path) and (not folder or self._is_applications(path, folder)):
                files.add(path)
        return files, packages

    def _is_applications(self, path: str, packages: str) -> bool:
        """Return whether an installed module is of the package that brings env.py."""
        top = path[len(packages) + 1 :].partition(os.sep)[0]
        return any(folder.startswith(os.path.join(os.path.realpath(packages), top, "")) for folder in self._covered)

    def _opened(self, path: Any, flags: Any) -> None:
        name = _absolute(path)
        if not name or name.startswith(_NO_FILES) or _is_pythons_own(name):
            return
        if not isinstance(flags, int) or flags & (os.O_WRONLY | os.O_RDWR) == 0:
            self._read.add(name)
            return
        self._written.add(name)
        if not flags & os.O_APPEND and not name.startswith(_temporary()):  # what is appended to is a log
            self.work[f"it writes the file {os.path.basename(name)}"] = None

    def _missed(self, path: Any) -> None:
        """Take note of a file that was looked for and is not there: the next run may find it."""
        if self not in _active or self._paused or is_own_thread():
            return
        with contextlib.suppress(Exception):
            self._opened(path, os.O_RDONLY)

    def _uses_driver(self) -> None:
        if not self._alembic and not self._paused:
            self.work["it uses the database driver by itself"] = None

    def _has_listed(self, path: Any) -> None:
        name = _absolute("." if path is None else path)
        if name and not name.startswith(_NO_FILES) and not _is_pythons_own(os.path.join(name, "x")):
            self._listed.setdefault(name, digest_of_folder(name))

    def _connects(self, address: Any) -> None:
        if isinstance(address, tuple):
            self._connected.add(address[:2])
        elif ".s.PGSQL." not in os.fsdecode(address):
            self._connected.add((address,))

    def _starts(self, program: Any) -> None:
        self.work[f"it starts a program ({os.path.basename(str(program))})"] = None

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of an event of Python's; called by the audit hook, in any thread."""
        if self._paused:
            return
        caller = sys._getframe(2)
        if caller.f_code.co_filename == _IMPORTS or str(caller.f_globals.get("__name__")).startswith("lockgate."):
            return
        if event == "open":
            self._opened(arguments[0], arguments[2])
        elif event in ("os.listdir", "os.scandir"):
            self._has_listed(arguments[0])
        elif event == "socket.connect":
            self._connects(arguments[1])
        elif event == "sqlite3.connect":
            if arguments[0] not in (":memory:", b":memory:"):
                self.work["it opens an SQLite database"] = None
        elif not _is_system(caller):
            self._starts(arguments[0] if arguments else event)


_active: list[InputRecorder] = []
_EVENTS = frozenset({"open", "os.listdir", "os.scandir", "socket.connect", "sqlite3.connect", *_PROGRAMS})


@cache
def _register() -> None:
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _active or event not in _EVENTS or is_own_thread():
        return
    for recorder in tuple(_active):
        # What a hook raises would stop what env.py does; what it opens itself must not come back to it.
        with contextlib.suppress(Exception), own_work():
            recorder.heard(event, arguments)


@cache
def _pythons_own() -> tuple[str, ...]:
    """Return the folders of Python's own modules."""
    paths = sysconfig.get_paths()
    return tuple({os.path.join(place, "") for name in ("stdlib", "platstdlib") for place in _spellings(paths[name])})


def _spellings(path: str) -> set[str]:
    return {os.path.abspath(path), os.path.realpath(path)}


def _is_pythons_own(path: str) -> bool:
    return path.startswith(_pythons_own()) and not _packages_of(path)


@cache
def _temporary() -> tuple[str, ...]:
    """Return the folders where Python puts temporary files.

    Not by ``tempfile.gettempdir()``: that tries them by writing a file, under a lock that the code which is heard may
    hold already.
    """
    named = (os.environ.get(name, "") for name in ("TMPDIR", "TEMP", "TMP"))
    folders = (*filter(None, named), "/tmp", "/var/tmp", "/usr/tmp")  # noqa: S108  # only compared with
    return tuple({os.path.join(path, "") for folder in folders for path in _spellings(folder)})


def _packages_of(path: str) -> str:
    """Return the folder of installed packages in which a file is, or nothing."""
    parts = path.split(os.sep)
    for position in range(len(parts) - 2, 0, -1):
        if parts[position] in ("site-packages", "dist-packages"):
            return os.sep.join(parts[: position + 1])
    return ""


def _is_described(path: str) -> bool:
    """Return whether the name of the installed package says what is in a file: pip's own notes on a version."""
    folder = _packages_of(path)
    return bool(folder) and is_metadata(path[len(folder) + 1 :].partition(os.sep)[0])


def _absolute(path: Any) -> str:
    """Return a path as it counts now: env.py may change its folder; nothing where it is an open file."""
    return "" if isinstance(path, int) else os.path.abspath(os.fsdecode(path))


def _existing(path: str) -> str:
    """Return the file itself, or the archive that holds it."""
    while path != os.path.dirname(path):
        if os.path.exists(path):
            return path if os.path.isfile(path) else ""
        path = os.path.dirname(path)
    return ""


def _is_system(caller: Any) -> bool:
    """Return whether Python itself asks what machine this is."""
    frame = caller
    for _ in range(8):
        if frame is None:
            return False
        if frame.f_code.co_filename.endswith(_ASKS_SYSTEM) and _is_pythons_own(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


def _resolved(addresses: Iterable[tuple[str, int]]) -> Iterator[tuple[Any, ...]]:
    for host, port in addresses:
        with contextlib.suppress(OSError):
            for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                yield address[:2]
        yield host, port
