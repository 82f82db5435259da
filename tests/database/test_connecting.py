"""Lockgate's own sessions connect as env.py's do, where the URL alone is not the way."""

from __future__ import annotations

import pwd
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import psycopg2
import pytest
from broken_network import Proxy

from lockgate.runner.database.tls import sslmode_of

T = ["t1", "t2", "t3"]
OLDEST = (
    *("alembic==1.8.1", "sqlalchemy==1.4.54", "psycopg2-binary>=2.9.10", "asyncpg>=0.30", "greenlet>=3.2"),
    "anyio>=4",
)
"""As in test_environments.py: they share one virtual environment."""


@pytest.fixture
def address(database):
    """Return the URL without its password, and the password."""

    def of(driver="psycopg"):
        secret = urlsplit(database.url()).password
        return database.url(driver).replace(f":{secret}@", "@"), {"SHOP_TOKEN": unquote(secret)}

    return of


@pytest.mark.parametrize(
    ("way", "driver"),
    [
        ("token", "psycopg2"),
        ("token", "psycopg2 of the oldest image"),
        ("creator", "psycopg2"),
        ("connect_args", "psycopg"),
        ("token_async", "asyncpg"),
        ("token_async", "psycopg"),
        ("async_creator", "asyncpg"),
    ],
)
def test_where_only_env_py_knows_how_to_connect_its_way_is_used_for_every_session(
    way, driver, address, project, run, database, environment
):
    driver, *old = driver.split(" of ")
    url, token = address(driver)
    token["python"] = str(environment(*OLDEST)) if old else ""

    result = run(project("ways"), "migrate", "--section", way, url=url, **token)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert [row[0] for row in database.rows("SELECT revision FROM lockgate.history ORDER BY id")] == T
    assert database.advisory_locks() == 0
    assert token["SHOP_TOKEN"] not in result.output

    again = run(project("ways"), "migrate", "--section", way, url=url, **token)
    assert (again.code, again.reason) == (0, "NothingToDo"), again.output
    assert any(event["event"] == "leading" for event in result.progress)
    if way != "async_creator":  # which connects to an address that is not in the engine's URL
        assert not any(event["event"] == "leading" for event in again.progress)  # the fast path is taken all the same


@pytest.mark.parametrize("command", ["status", "plan", "wait"])
def test_the_commands_that_look_connect_as_env_py_does_too(command, address, project, run):
    url, token = address()
    limit = ("--timeout", "0s") if command == "wait" else ()

    result = run(project("ways"), command, "--section", "token", *limit, url=url, **token)

    assert result.reason == ("SchemaNotReady" if command == "wait" else "RevisionsPending"), result.output


@pytest.mark.parametrize("libraries", ["newest", "oldest"])
def test_a_token_that_is_refused_is_no_outage(libraries, address, project, run, environment):
    url, _ = address("psycopg2")
    python = str(environment(*OLDEST)) if libraries == "oldest" else ""

    result = run(project("ways"), "migrate", "--section", "token", url=url, SHOP_TOKEN="wrong", python=python)

    assert (result.code, result.reason) == (21, "InvalidConfiguration"), result.output
    assert "refuses the login" in result.report.message


def test_an_env_file_that_needs_no_url_of_lockgates_gets_along_without_one(address, project, run, database):
    url, token = address()

    result = run(project("ways"), "migrate", "--section", "own_url", url="", SHOP_ADDRESS=url, **token)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert database.rows("SELECT version_num FROM alembic_version") == [("t3",)]


def test_a_database_that_env_py_makes_need_not_be_there(project, run, database):
    name = f"{database.name}_made"
    url = re.sub(rf"/{database.name}$", f"/{name}", database.url())
    with psycopg.connect(database.administration, autocommit=True) as connection:
        try:
            looked = run(project("ways"), "status", "--section", "makes_database", url=url)
            result = run(project("ways"), "migrate", "--section", "makes_database", url=url)
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    assert (looked.code, looked.reason) == (21, "InvalidConfiguration"), looked.output  # to look makes nothing
    assert "does not exist" in looked.report.message
    assert (result.code, result.reason) == (0, "Migrated"), result.output


def test_env_py_finds_the_configuration_as_alembic_would_have_it(project, run, database):
    url = database.url().replace("+psycopg", "")

    result = run(project("ways"), "migrate", "--section", "url_unless_set", url=url)

    assert (result.code, result.reason) == (0, "Migrated"), result.output


def test_an_env_file_that_goes_by_a_configuration_without_a_url_gets_lockgates(project, run, database):
    planned = run(project("ways"), "plan", "--section", "template")
    result = run(project("ways"), "migrate", "--section", "template")

    assert (planned.code, planned.reason) == (0, "RevisionsPending"), planned.output
    assert "CREATE" in planned.output
    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert database.rows("SELECT version_num FROM alembic_version") == [("t3",)]


class Watching(Proxy):
    """Counts the logins that a server has let in, and tells of others in another language, with as many letters."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.logins = 0

    def seen(self, data: bytes) -> bytes:
        self.logins += data.count(b"is_superuser\0")  # which a server tells each client that it lets in
        return data.replace(b"password authentication failed", b"Anmeldung hat nicht geklappt :")


@pytest.fixture
def watched(database):
    """Return what forwards to the server, and the URL that leads through it."""
    port = urlsplit(database.administration).port
    with Watching(port) as proxy:
        yield proxy, lambda driver="psycopg": database.url(driver).replace(f":{port}/", f":{proxy.port}/")


def test_no_session_logs_in_with_less_tls_than_env_py_demands(watched, project, run):
    proxy, url = watched

    result = run(project("ways"), "status", "--section", "tls", url=url())

    assert result.code == 11, result.output
    assert proxy.logins == 0


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_less_tls_than_env_py_turns_out_to_demand_is_said(driver, address, project, run, database):
    url, token = address(driver)
    way = {"SHOP_ADDRESS": url, **token}  # libpq prefers TLS where nothing is said

    result = run(
        project("ways"), "migrate", "--section", "own_url", url=f"{database.url(driver)}?sslmode=disable", **way
    )

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert any("sslmode=prefer" in each and "--connect" in each for each in result.report.warnings), result.output


def test_whether_env_py_is_asked_can_be_said(watched, project, run):
    proxy, url = watched

    result = run(project("ways"), "status", "--section", "tls", "--connect", "Url", url=url())

    assert (result.code, result.reason) == (0, "RevisionsPending"), result.output
    assert proxy.logins == 1


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_a_refused_login_is_known_in_every_language(driver, watched, project, run):
    _, url = watched

    result = run(project("sync"), "status", url=url(driver).replace(":s3cret", ":wrong"))

    assert (result.code, result.reason) == (21, "InvalidConfiguration"), result.output
    assert "refuses the login" in result.report.message
    assert "Anmeldung hat nicht" in result.report.message


def test_a_line_break_behind_the_url_is_none_of_env_pys_either(project, run, database):
    result = run(project("sync"), url=f"{database.url()}\n")

    assert (result.code, result.reason) == (0, "Migrated"), result.output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: url.replace(":s3", ":s@3", 1), "%40"),
        (lambda url: url.replace("@", "@\n", 1), "line break"),
        (lambda url: url.replace("postgresql+psycopg", "postgres"), "postgresql://"),
        (lambda _: " ", "DATABASE_URL is empty"),
    ],
)
def test_what_is_wrong_with_a_url_is_named(change, said, project, run, database):
    result = run(project("sync"), url=change(database.url()))

    assert (result.code, result.reason) == (21, "InvalidConfiguration"), result.output
    assert said in result.report.message


def test_an_env_file_that_cannot_be_loaded_twice_lends_its_way_all_the_same(address, project, run, database):
    url, token = address()

    result = run(project("ways"), "migrate", "--section", "models_in_env", url=url, **token)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert database.rows("SELECT version_num FROM alembic_version") == [("t3",)]


def test_a_user_without_a_home_directory_is_told_how_strict_its_tls_is(database, monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # as for a user whom only the container's manifest knows
    with pytest.raises(RuntimeError):
        Path.home()

    with database.connect(sslmode="allow") as psycopg3, database.connect() as default:
        assert (sslmode_of(psycopg3), sslmode_of(default)) == ("allow", "prefer")
    with psycopg2.connect(database.url().replace("+psycopg", ""), sslmode="disable") as other:
        assert sslmode_of(other) == "disable"
    other.close()
