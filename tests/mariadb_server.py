"""A real MariaDB server for a test run: this machine's binaries, a temporary folder, a loopback port."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymysql

HOW_TO_GET = "MariaDB's server binaries are missing: apt-get install mariadb-server"
PASSWORD = "s3cret-Pa%ss"  # of a throw-away server; a percent sign, as real ones have them


class ServerBinariesMissing(Exception):
    """There is no MariaDB server on this machine."""


@dataclass(frozen=True)
class MariadbServer:
    """Where a server listens."""

    port: int

    def url(self, database: str, driver: str = "pymysql") -> str:
        """Return SQLAlchemy's URL of a database."""
        return f"mysql+{driver}://shop:{quote(PASSWORD)}@127.0.0.1:{self.port}/{database}"


@dataclass
class MariadbDatabase:
    """A database of the server, and somebody who may look into it."""

    server: MariadbServer
    name: str

    def url(self, driver: str = "") -> str:
        return self.server.url(self.name)

    def connect(self) -> Any:
        return pymysql.connect(
            host="127.0.0.1", port=self.server.port, user="shop", password=PASSWORD, database=self.name or None
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            connection.autocommit(True)
            cursor.execute(query)
            return list(cursor.fetchall())

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]

    @property
    def tables(self) -> set[str]:
        return {row[0] for row in self.rows("SHOW TABLES")}

    def running(self, words: str) -> list[int]:
        """Sessions that run a statement with these words."""
        return [
            row[0]
            for row in self.rows("SELECT ID, INFO FROM information_schema.PROCESSLIST WHERE COMMAND = 'Query'")
            if words in str(row[1]) and "PROCESSLIST" not in str(row[1])
        ]


def _binary(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ServerBinariesMissing(HOW_TO_GET)
    return found


@contextlib.contextmanager
def mariadb_server(*options: str) -> Iterator[MariadbServer]:
    """Start a server with further ``options``; stop it by pid, remove the folder.

    ``LOCKGATE_TEST_MYSQL_PORT``: use what listens there, with a user ``shop`` who may do everything, and our password.
    """
    if given := os.environ.get("LOCKGATE_TEST_MYSQL_PORT"):
        yield MariadbServer(int(given))
        return
    server, installer = _binary("mariadbd"), _binary("mariadb-install-db")
    owner = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="lockgate-mariadb-"))
    try:
        if owner:
            os.chown(folder, int(str(owner["user"])), int(str(owner["group"])))
        # The folder of the account: only the server itself is started, and it reads no configuration of the machine.
        install = [installer, "--no-defaults", f"--datadir={folder / 'data'}", "--skip-test-db"]
        subprocess.run(install, check=True, capture_output=True, cwd=folder, **owner)  # type: ignore[call-overload]
        start = folder / "start.sql"
        start.write_text(
            f"CREATE USER shop@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO shop@'127.0.0.1';\n"
        )
        start.chmod(0o644)
        port = _free_port()
        settings = (
            *("--no-defaults", f"--datadir={folder / 'data'}", f"--socket={folder / 'socket'}", f"--port={port}"),
            *("--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin", f"--init-file={start}"),
            *("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M", "--max-connections=200"),
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [server, *settings, *options],
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,  # a Ctrl-C for the tests must not reach the server before they are done
                preexec_fn=_end_with_parent,  # noqa: PLW1509  # no threads are at work yet that could hold a lock
                **owner,  # type: ignore[call-overload]  # user, group, extra_groups
            )
        try:
            _await(process, port, folder / "log")
            yield MariadbServer(port)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> dict[str, object]:
    """Return how to start the server as somebody else than root, which it refuses."""
    if os.geteuid() != 0:
        return {}
    for name in ("mysql", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise ServerBinariesMissing("There is no user mysql or nobody to run MariaDB as.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    """Let the kernel stop the server when the tests are killed (Linux: PR_SET_PDEATHSIG, 1)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the port is open: the server opens it when the init file has run."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"MariaDB did not start: {log.read_text(errors='replace')[-2000:]}")
