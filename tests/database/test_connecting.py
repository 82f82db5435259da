"""Lockgate's own sessions connect as env.py's do, where the URL alone is not the way."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

import psycopg
import pytest

T = ["t1", "t2", "t3"]


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
        ("token", "psycopg"),
        ("token", "psycopg2"),
        ("creator", "psycopg2"),
        ("connect_args", "psycopg"),
        ("token_async", "asyncpg"),
        ("token_async", "psycopg"),
        ("async_creator", "asyncpg"),
    ],
)
def test_where_only_env_py_knows_how_to_connect_its_way_is_used_for_every_session(
    way, driver, address, project, run, database
):
    url, token = address(driver)

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


@pytest.mark.parametrize("command", ["status", "plan", "wait", "history"])
def test_the_commands_that_look_connect_as_env_py_does_too(command, address, project, run):
    url, token = address()
    reasons = {"status": "RevisionsPending", "plan": "RevisionsPending", "wait": "SchemaNotReady"}
    limit = ("--timeout", "0s") if command == "wait" else ()

    result = run(project("ways"), command, "--section", "token", *limit, url=url, **token)

    assert result.reason == reasons.get(command, "NoHistory"), result.output


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
