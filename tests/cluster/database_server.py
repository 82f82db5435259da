"""PostgreSQL in the cluster: one server per run, a database and an account of its own for each that asks."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import yaml
from cluster_access import CHECKOUT, Access, Namespace, eventually

MANIFEST = CHECKOUT / "tests/images/postgres/postgres.yaml"


@dataclass(frozen=True)
class Database:
    """One database: its URL inside the cluster, and a look into it from outside."""

    server: Server
    name: str
    password: str

    @property
    def url(self) -> str:
        """The URL with the driver that all images here contain."""
        host = f"postgres.{self.server.namespace.name}.svc"
        return f"postgresql+psycopg://{self.name}:{self.password}@{host}:5432/{self.name}"

    def psql(self, sql: str) -> str:
        """Return what psql prints for these statements: rows as lines, columns with | between them."""
        return self.server.psql(sql, self.name)

    @contextmanager
    def held(self, table: str, mode: str = "ACCESS EXCLUSIVE") -> Iterator[None]:
        """Hold a lock on a table: a stand-in for somebody's long transaction."""
        sql = f"BEGIN; LOCK TABLE {table} IN {mode} MODE; SELECT pg_sleep(600) AS held;"
        command = self.server.namespace.access.command("-n", self.server.namespace.name, *self.server.exec(self.name))
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL) as process:
            assert process.stdin
            process.stdin.write(sql)
            process.stdin.close()
            mine = f"datname = '{self.name}' AND query LIKE '%AS held;' AND wait_event = 'PgSleep'"
            eventually(lambda: self._expect(f"SELECT count(*) FROM pg_stat_activity WHERE {mine}", "1"))
            yield
            self.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")

    def _expect(self, sql: str, answer: str) -> None:
        assert self.psql(sql) == answer

    def revisions(self) -> list[str]:
        """Return the rows of alembic_version."""
        return self.psql("SELECT version_num FROM alembic_version ORDER BY 1").split()


@dataclass(frozen=True)
class Server:
    """The server, and every password it has given out."""

    namespace: Namespace
    passwords: list[str]

    @classmethod
    def start(cls, access: Access, namespace: Namespace) -> Server:
        """Apply the manifest and wait for the server."""
        deployment, service = yaml.safe_load_all(MANIFEST.read_text())
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        container["image"] = access.image(container["image"])
        namespace.apply(deployment, service)
        namespace.kubectl("rollout", "status", "deployment/postgres", "--timeout=120s")
        return cls(namespace, [])

    def psql(self, sql: str, database: str = "postgres") -> str:
        """Run SQL as the superuser, through the socket in the server's own pod."""
        return self.namespace.kubectl(*self.exec(database), stdin=sql).stdout.strip()

    @staticmethod
    def exec(database: str) -> tuple[str, ...]:
        """Return what kubectl is to do: psql in the server's pod, with SQL from its standard input."""
        psql = ("psql", "-h", "/tmp", "-U", "postgres", "-d", database, "-v", "ON_ERROR_STOP=1", "-qAt", "-f", "-")
        return ("exec", "-i", "deploy/postgres", "--", *psql)

    def database(self) -> Database:
        """Make an empty database that belongs to a new account."""
        name, password = f"t{secrets.token_hex(4)}", secrets.token_urlsafe(16)
        self.passwords.append(password)
        self.psql(f"CREATE ROLE {name} LOGIN PASSWORD '{password}';\nCREATE DATABASE {name} OWNER {name};")
        return Database(self, name, password)
