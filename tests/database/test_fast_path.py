"""When a run may end at once, and when it must not: what decides where env.py migrates to is more than its files."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
import pytest


def test_another_search_path_in_the_url_is_another_version_table(project, run, database):
    folder = project("sync")
    for schema in ("ann", "bob"):
        database.rows(f"CREATE SCHEMA {schema}")
        result = run(folder, url=f"{database.url()}?options=-csearch_path%3D{schema}")

        assert (result.code, result.reason) == (0, "Migrated"), result.output
        assert database.rows(f"SELECT version_num FROM {schema}.alembic_version") == [("r4",)]


@pytest.mark.parametrize("name", ["TENANT", "COMPASS_SCHEMA"])
def test_a_variable_that_env_py_goes_by_takes_the_run_the_full_way(name, project, run, database):
    folder = project("sync")
    env = folder / "migrations" / "env.py"
    named = f"configure(connection=connection, version_table_schema=os.environ['{name}']"
    text = env.read_text().replace("configure(connection=connection", named)
    env.write_text(
        text.replace("poolclass", f"connect_args={{'options': '-csearch_path=' + os.environ['{name}']}}, poolclass")
    )
    for schema in ("ann", "bob"):
        database.rows(f"CREATE SCHEMA {schema}")
        result = run(folder, **{name: schema})

        assert (result.code, result.reason) == (0, "Migrated"), result.output
        assert database.rows(f"SELECT version_num FROM {schema}.alembic_version") == [("r4",)]

    assert not run(folder, **{name: "bob"}).progress


def test_an_index_that_was_invalid_before_lockgate_came_fails_no_run(project, run, database):
    database.rows("CREATE TABLE old AS SELECT 1 AS x FROM generate_series(1, 2)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.rows("CREATE UNIQUE INDEX CONCURRENTLY old_x ON old (x)")
    folder = project("sync")

    assert run(folder).code == 0
    again = run(folder)

    assert (again.code, again.reason) == (0, "NothingToDo"), again.output
    assert not again.progress


def test_the_fast_path_is_taken_whatever_time_zone_env_py_sets(project, run):
    folder = project("sync")
    env = folder / "migrations" / "env.py"
    env.write_text(env.read_text().replace("poolclass", "connect_args={'options': '-ctimezone=Asia/Tokyo'}, poolclass"))
    assert run(folder).code == 0

    assert not run(folder).progress


def test_what_pyproject_toml_says_takes_part(project, run, database):
    folder = project("sync")
    file = folder / "pyproject.toml"
    file.write_text('[tool.lockgate]\ntarget = "r2"\n')

    assert run(folder).report.reached == ("r2",)
    assert not run(folder).progress

    file.write_text('[tool.lockgate]\ntarget = "heads"\n')
    assert run(folder).report.reached == ("r4",)

    file.write_text('[[tool.lockgate.checks]]\nsql.query = "SELECT false"\n')
    assert run(folder).reason == "CheckFailed"
    assert database.value("SELECT version_num FROM alembic_version") == "r4"


def test_revisions_in_a_folder_that_only_env_py_names_are_found_by_the_next_run(project, run, database):
    folder = project("worker_thread")
    assert run(folder).code == 0
    (folder.parent / "revisions" / "r5.py").write_text(
        "revision, down_revision = 'r5', 'r4'\n\n\ndef upgrade():\n    pass\n"
    )

    result = run(folder)

    assert (result.code, result.report.reached) == (0, ("r5",)), result.output


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_a_run_that_finds_nothing_to_do_imports_neither_sqlalchemy_nor_alembic(driver, project, run, database):
    folder = project("sync" if driver != "asyncpg" else "async")
    assert run(folder, driver=driver).code == 0
    code = (
        "import sys; from lockgate.runner.command_line import execute; code = execute(['migrate']);"
        " print('imported:', sorted({'sqlalchemy', 'alembic'} & set(sys.modules))); sys.exit(code)"
    )

    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LOCKGATE_", "PYTHON"))}
    environ = {**inherited, "DATABASE_URL": database.url(driver), "PYTHONDONTWRITEBYTECODE": "1"}
    again = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=folder, env=environ, capture_output=True, text=True, check=True
    )

    assert "NothingToDo" in again.stdout
    assert "imported: []" in again.stdout


def test_a_settings_file_that_env_py_reads_takes_the_run_the_full_way_when_it_changes(project, run, database):
    folder = project("sync")
    env, settings = folder / "migrations" / "env.py", folder / "settings.json"
    text = env.read_text().replace("import os", "import json\nimport os")
    text = text.replace("connectable =", "tenant = json.load(open('settings.json'))['tenant']\nconnectable =")
    env.write_text(text.replace("poolclass", "connect_args={'options': '-csearch_path=' + tenant}, poolclass"))
    for schema in ("ann", "bob"):
        database.rows(f"CREATE SCHEMA {schema}")
        settings.write_text(f'{{"tenant": "{schema}"}}')

        result = run(folder)

        assert (result.code, result.reason) == (0, "Migrated"), result.output
        assert database.rows(f"SELECT version_num FROM {schema}.alembic_version") == [("r4",)]

    assert not run(folder).progress
    never = run(folder, "migrate", "--fast-path", "Never")
    assert (never.reason, [event for event in never.progress if event["event"] == "verifying"] != []) == (
        "NothingToDo",
        True,
    )


def test_what_env_py_does_after_its_migrations_is_done_in_every_run(project, run, database):
    folder = project("sync")
    env, script = folder / "migrations" / "env.py", folder / "view.sql"
    after = "with connectable.begin() as connection:\n    connection.exec_driver_sql(open('view.sql').read())\n"
    env.write_text(env.read_text() + after)
    for number in (1, 2):
        script.write_text(f"CREATE OR REPLACE VIEW answer AS SELECT {number} AS number")

        assert run(folder).code == 0
        assert database.value("SELECT number FROM answer") == number

    database.rows("DROP VIEW answer")
    result = run(folder)
    assert (result.reason, database.value("SELECT number FROM answer")) == ("NothingToDo", 2), result.output
    assert [event for event in result.progress if event["event"] == "no_fast_path"]


def test_what_an_earlier_version_recorded_is_not_believed(project, run, database):
    folder = project("sync")
    assert run(folder).code == 0
    database.rows("ALTER TABLE lockgate.satisfied DROP COLUMN inputs")

    assert run(folder).progress
    assert not run(folder).progress
