"""Servers where no migration may run: behind a transaction pooler, a standby, and what only looks like PostgreSQL."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
from broken_network import Proxy

pytestmark = pytest.mark.each_postgres


class LyingProxy(Proxy):
    """Says something else than the server does, of the same length: no server that old is to be had."""

    def __init__(self, target: int, real: bytes, pretended: bytes) -> None:
        super().__init__(target)
        self._real, self._pretended = re.compile(real), pretended

    def seen(self, data: bytes) -> bytes:
        return self._real.sub(self._pretended, data)


@pytest.fixture
def pooler(database, tmp_path, eventually, request):
    """Start pgbouncer in front of the database, in the pool mode that the test names."""
    binary = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if binary is None:
        request.getfixturevalue("missing")("pgbouncer is missing: apt-get install pgbouncer")
    postgres_server = request.getfixturevalue("postgres_server")
    parts, port, owner = urlsplit(database.administration), postgres_server.free_port(), postgres_server.unprivileged()
    (tmp_path / "users").write_text(f'"{parts.username}" "{unquote(parts.password)}"\n')
    (tmp_path / "pgbouncer.ini").write_text(
        f"[databases]\n{database.name} = host={parts.hostname} port={parts.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = plain\n"
        f"auth_file = {tmp_path}/users\npool_mode = {request.param}\nignore_startup_parameters = extra_float_digits\n"
    )
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    process = subprocess.Popen([binary, "-q", tmp_path / "pgbouncer.ini"], **owner)
    url = database.url().replace(f":{parts.port}/", f":{port}/")

    def answers():
        try:
            psycopg.connect(url.replace("+psycopg", "")).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        eventually(answers)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.mark.parametrize("pooler", ["transaction"], indirect=True)
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_a_transaction_pooler_is_refused(driver, pooler, project, run, database):
    result = run(project("sync"), url=pooler.replace("+psycopg", f"+{driver}"))

    assert (result.code, result.reason) == (21, "TransactionPooler"), result.output
    assert "spec.database.directUrlFrom" in result.report.message
    assert database.value("SELECT to_regclass('alembic_version')") is None


@pytest.mark.parametrize("pooler", ["transaction"], indirect=True)
def test_an_env_file_may_know_the_way_round_a_transaction_pooler(pooler, project, run, database):
    token = unquote(urlsplit(database.url()).password)
    way = {"SHOP_ADDRESS": database.url().replace(f":{urlsplit(database.url()).password}@", "@"), "SHOP_TOKEN": token}

    result = run(project("ways"), "migrate", "--section", "own_url", url=pooler, **way)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert database.rows("SELECT version_num FROM alembic_version") == [("t3",)]


@pytest.mark.parametrize("pooler", ["session"], indirect=True)
def test_a_session_pooler_is_accepted(pooler, project, run):
    result = run(project("sync"), url=pooler)

    assert (result.code, result.reason) == (0, "Migrated"), result.output


def test_a_standby_is_refused_before_any_lock_is_taken(administration, postgres_kind, project, run, request):
    if os.environ.get("LOCKGATE_TEST_POSTGRES_URL"):
        pytest.skip("a standby can only be made of a server that the tests started themselves")
    postgres_server = request.getfixturevalue("postgres_server")

    with postgres_server.standby(administration, postgres_kind) as url:
        result = run(project("sync"), "migrate", url=url.replace("postgresql:", "postgresql+psycopg:"))

    assert (result.code, result.reason, result.report.retryable) == (11, "DatabaseReadOnly", True), result.output
    assert "primary" in result.report.message


@pytest.mark.parametrize(
    ("real", "pretended", "said"),
    [
        (rb"PostgreSQL (?=\d\d\.)", b"FauxgreSQL ", "'FauxgreSQL'"),
        (rb"\b1[2-9](?=0\d\d\d\b)", b"11", "PostgreSQL 11"),
    ],
    ids=["another product", "too old"],
)
def test_a_server_that_lockgate_does_not_know_is_refused_before_any_lock_is_taken(
    real, pretended, said, project, run, database
):
    port = urlsplit(database.administration).port
    with LyingProxy(port, real, pretended) as proxy:
        result = run(project("sync"), url=database.url().replace(f":{port}/", f":{proxy.port}/"))

    assert (result.code, result.reason) == (21, "UnsupportedDatabase"), result.output
    assert said in result.report.message
    assert database.value("SELECT to_regclass('alembic_version')") is None
