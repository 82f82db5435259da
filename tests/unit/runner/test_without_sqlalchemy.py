"""What is read without SQLAlchemy and Alembic says the same as they do."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import asyncpg, psycopg, psycopg2
from sqlalchemy.engine.url import make_url

from lockgate.runner.database.address import direct_address, read_address
from lockgate.runner.invocation.configuration import read_configuration
from lockgate.runner.revisions.outline import outline
from lockgate.runner.revisions.project import load_project

pytestmark = pytest.mark.filterwarnings("ignore:.*path_separator:DeprecationWarning")

PROJECTS = Path(__file__).parents[2] / "projects"
DIALECTS = {"psycopg": psycopg.dialect, "psycopg2": psycopg2.dialect, "asyncpg": asyncpg.dialect}

words = st.text(st.characters(exclude_categories=("C", "Z")), max_size=12)
hosts = st.from_regex(r"[a-z0-9.-]{0,12}|\[[0-9a-f:]{2,12}\]", fullmatch=True)


def escaped(text: str) -> str:
    return quote(text, safe="")


@given(
    words,
    words,
    hosts,
    st.none() | st.integers(1, 65535),
    st.from_regex("[a-z0-9_-]{0,9}", fullmatch=True),
    st.dictionaries(st.sampled_from(["options", "sslmode", "application_name", "target_session_attrs"]), words),
)
def test_a_url_is_read_as_sqlalchemy_reads_it(username, password, host, port, database, query):
    user = f"{escaped(username)}:{escaped(password)}@" if username or password else ""
    end = "&".join(f"{name}={escaped(value)}" for name, value in query.items())
    text = f"postgresql+psycopg://{user}{host}{f':{port}' if port else ''}/{database}{f'?{end}' if end else ''}"

    theirs, ours = make_url(text), read_address(text)

    assert ours is not None
    assert (ours.username, ours.password) == (theirs.username or "", theirs.password or "")
    assert (ours.host, ours.port, ours.database) == (theirs.host or "", theirs.port, theirs.database or "")
    assert dict(ours.query) == dict(theirs.query)


@given(st.text(max_size=40) | st.text("postgresql+cg2:/@?&=%h[]. ", max_size=40))
def test_no_text_is_read_otherwise_than_by_sqlalchemy(text):
    ours = read_address(text)

    if ours is not None:
        theirs = make_url(text.strip())
        assert f"{ours.backend}{'+' if '+' in theirs.drivername else ''}{ours.driver}" == theirs.drivername
        assert (ours.host, ours.database) == (theirs.host or "", theirs.database or "")


@pytest.mark.parametrize("driver", DIALECTS)
@pytest.mark.parametrize(
    "rest", ["", "/shop", "u:p%40ss@db:5433/shop", "db/shop?sslmode=require&connect_timeout=3", "[::1]:5432/x"]
)
def test_a_driver_is_given_what_sqlalchemy_would_give_it(driver, rest):
    text = f"postgresql+{driver}://{rest}"
    address = direct_address(text, lambda _: True)
    assert address is not None

    _, theirs = DIALECTS[driver]().create_connect_args(make_url(text))

    if driver != "asyncpg":
        assert address.arguments() == theirs
    else:
        own = {name for name in ("sslmode", "connect_timeout") if name in theirs}
        expected = {name: value for name, value in theirs.items() if name not in own and "prepared" not in name}
        assert {**address.arguments_of_asyncpg(), "ssl": ""} == {**expected, "ssl": ""}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+pg8000://h/d",
        "postgresql://h/d?host=a&host=b",
        "postgresql+psycopg://h/d?service=x",
        "postgresql+asyncpg://h/d?prepared_statement_cache_size=0",
        "mysql+pymysql://h/d",
        "nothing",
    ],
)
def test_what_is_not_plain_is_left_to_sqlalchemy(url):
    assert direct_address(url, lambda _: True) is None


@pytest.mark.parametrize("style", sorted(path.parent.name for path in PROJECTS.glob("*/alembic.ini")))
def test_an_outline_has_the_digest_that_alembic_gives_the_project(style, monkeypatch):
    monkeypatch.chdir(PROJECTS / style)
    environ = {**os.environ, "DATABASE_URL": "postgresql+psycopg://u:p@h/d?options=-csearch_path%3Dx"}
    configuration = read_configuration("migrate", {}, environ)

    known = outline(configuration, Path.cwd(), environ)
    project = load_project(configuration, Path.cwd(), environ)

    assert known is not None
    assert known.digest == project.digest
    assert known.env_first == project.env_first
    assert (known.url, known.version_schema, known.version_table) == (
        project.url,
        project.version_schema,
        project.version_table,
    )


@pytest.mark.parametrize(
    "lines",
    [
        "script_location = outlined:migrations\nversion_locations = outlined:more",
        "script_location = %(here)s/outlined/migrations\nversion_locations = %(here)s/a %(here)s/b",
        "script_location = outlined/migrations\nversion_locations = a:b\nversion_path_separator = os",
        "script_location = outlined/migrations\nversion_table = v\nversion_table_schema = s",
    ],
)
def test_folders_are_found_without_importing_the_package_that_holds_them(lines, tmp_path, monkeypatch):
    for name in ("outlined/migrations", "outlined/more", "a", "b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "one.py").write_text(f"# {name}\n")
    (tmp_path / "outlined" / "__init__.py").write_text("")
    (tmp_path / "outlined" / "migrations" / "env.py").write_text("")
    (tmp_path / "alembic.ini").write_text(f"[alembic]\nprepend_sys_path = .\n{lines}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    environ = {"DATABASE_URL": "postgresql+psycopg://h/d"}
    configuration = read_configuration("migrate", {}, environ)

    known = outline(configuration, tmp_path, environ)
    project = load_project(configuration, tmp_path, environ)

    assert known is not None
    assert known.digest == project.digest


@pytest.mark.parametrize(
    "lines", ["", "script_location = missing", "script_location = a.b:c", "script_location = %(x)s"]
)
def test_what_is_not_plain_has_no_outline(lines, tmp_path):
    (tmp_path / "alembic.ini").write_text(f"[alembic]\n{lines}\n")
    configuration = read_configuration("migrate", {}, {"DATABASE_URL": "postgresql+psycopg://h/d"})

    assert outline(configuration, tmp_path, {}) is None
