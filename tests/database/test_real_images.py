"""What runs in images that are not ours: other versions, the zipapp, and a long history from PyPI."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

import runner_archive

OLDEST = ("alembic==1.8.1", "sqlalchemy==1.4.54", "psycopg2-binary>=2.9.10", "asyncpg>=0.30", "greenlet>=3.2")
MLFLOW = ("mlflow-skinny==3.17.2", "alembic>=1.16", "sqlalchemy>=2.0", "psycopg[binary]>=3.2")
PREFECT = ("prefect==3.8.8", "asyncpg>=0.30")


@pytest.mark.parametrize(
    ("style", "driver", "last"),
    [("sync", "psycopg2", "r4"), ("async", "asyncpg", "r4"), ("engine_begin", "psycopg2", "t3")],
)
def test_the_oldest_alembic_and_sqlalchemy_migrate_the_same(style, driver, last, environment, project, run, database):
    python = str(environment(*OLDEST))

    result = run(project(style), driver=driver, python=python)
    again = run(project(style), driver=driver, python=python)

    assert (result.code, result.report.reached) == (0, (last,)), result.output
    assert (again.code, again.reason, again.progress) == (0, "NothingToDo", []), again.output
    assert database.value("SELECT count(*) FROM lockgate.history") == len(result.report.applied)
    assert database.advisory_locks() == 0


def test_the_oldest_alembic_and_sqlalchemy_report_a_failure_the_same(environment, project, run):
    result = run(project("failing"), driver="psycopg2", python=str(environment(*OLDEST)))

    assert (result.code, result.reason, result.report.failure.sqlstate) == (20, "MigrationFailed", "23505"), (
        result.output
    )


@pytest.mark.parametrize("byte_code", [True, False], ids=["this Python", "another Python"])
def test_the_zipapp_ends_with_the_exit_code(byte_code, tmp_path, project, database):
    runner_archive.build(tmp_path / "lockgate.pyz", byte_code=byte_code)

    def code(*arguments):
        command = [sys.executable, "-I", tmp_path / "lockgate.pyz", *arguments]
        environ = {"DATABASE_URL": database.url()}
        return subprocess.run(command, cwd=project("failing"), env=environ, capture_output=True, check=False).returncode

    assert (code("--version"), code("migrate")) == (0, 20)
    assert code("migrate", "--lock-wait", "x") == 21


def test_an_image_without_alembic_is_told_what_to_do(environment, project, run):
    result = run(project("sync"), python=str(environment("typing-extensions>=4")))

    assert (result.code, result.reason) == (21, "AlembicNotInstalled"), result.output
    assert "alembic.python" in result.report.message


def test_a_driver_that_the_image_does_not_contain_is_named(environment, project, run):
    result = run(project("sync"), driver="psycopg", python=str(environment(*OLDEST)))

    assert (result.code, result.reason) == (21, "DriverNotInstalled"), result.output
    assert "'psycopg'" in result.report.message


def test_ten_runners_apply_mlflows_history_at_once_one_applies_and_none_fails(environment, start, database):
    python = environment(*MLFLOW)
    folder = next((python.parents[1] / "lib").glob("python*/site-packages"))
    base = (
        "import sys; from sqlalchemy import create_engine;"
        " from mlflow.store.tracking.dbmodels.initial_models import Base;"
        " Base.metadata.create_all(create_engine(sys.argv[1]))"
    )
    subprocess.run([python, "-c", base, database.url()], check=True)

    processes = [
        start(folder, "migrate", "--config", "mlflow/store/db_migrations/alembic.ini", python=str(python))
        for _ in range(10)
    ]
    results = [process.end(timeout=180) for process in processes]

    assert [result.code for result in results] == [0] * 10, "".join(result.output for result in results)
    assert sorted(result.reason for result in results) == ["Migrated", *["NothingToDo"] * 9]
    assert max(len(result.report.applied) for result in results) == 67
    assert database.value("SELECT count(*) FROM lockgate.history") == 67


def test_runners_apply_prefects_history_whose_env_py_the_alembic_command_cannot_run(
    environment, start, database, tmp_path
):
    python = environment(*PREFECT)
    folder = next((python.parents[1] / "lib").glob("python*/site-packages")) / "prefect" / "server" / "database"
    variable = "PREFECT_API_DATABASE_CONNECTION_URL"
    settings = {variable: database.url("asyncpg"), "PREFECT_HOME": str(tmp_path), "DO_NOT_TRACK": "1"}

    def migrate():
        return start(folder, "migrate", "--database-env", variable, python=str(python), **settings)

    results = [process.end(timeout=180) for process in [migrate() for _ in range(3)]]
    again = migrate().end()

    assert [result.code for result in results] == [0] * 3, "".join(result.output for result in results)
    assert sorted(result.reason for result in results) == ["Migrated", *["NothingToDo"] * 2]
    assert database.value("SELECT count(*) FROM lockgate.history") == 118
    assert database.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert (again.reason, again.progress) == ("NothingToDo", []), again.output

    database.rows("DROP TABLE alembic_version; DROP SCHEMA lockgate CASCADE")
    adopted = start(folder, "baseline", "heads", "--database-env", variable, python=str(python), **settings).end()
    assert (adopted.code, adopted.reason) == (0, "Adopted"), adopted.output


def test_an_image_with_a_few_revisions_of_a_long_history_takes_all_of_it_back(environment, start, database, tmp_path):
    python = environment(*PREFECT)
    newer = next((python.parents[1] / "lib").glob("python*/site-packages")) / "prefect" / "server" / "database"
    older = shutil.copytree(newer, tmp_path / "older", ignore=shutil.ignore_patterns("__pycache__"))
    revisions = sorted((older / "_migrations" / "versions" / "postgresql").glob("*.py"))
    for file in revisions[10:]:  # their names begin with a date
        file.unlink()
    for file, before, after in (
        (older / "alembic.ini", "prefect:server:database:_migrations", "%(here)s/_migrations"),
        (older / "_migrations" / "env.py", "db_interface.orm.versions_dir", repr(str(revisions[0].parent))),
    ):
        file.write_text(file.read_text().replace(before, after))
    variable = "PREFECT_API_DATABASE_CONNECTION_URL"
    settings = {variable: database.url("asyncpg"), "PREFECT_HOME": str(tmp_path), "DO_NOT_TRACK": "1"}

    def lockgate(folder, *arguments):
        arguments = (*arguments, "--database-env", variable)
        return start(folder, *arguments, python=str(python), **settings).end(timeout=180)

    assert lockgate(newer, "migrate").code == 0
    result = lockgate(older, "downgrade", "base", "--downgrade", "Allow")

    assert (result.code, result.reason) == (0, "Downgraded"), result.output
    assert len(result.report.undone) == len(revisions) == 118
    plan = json.loads(result.output.splitlines()[-1])["plan"]
    assert [step["source"] for step in plan].count("lockgate.history") == 108
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    assert database.rows(tables) == [("alembic_version",)]
    assert database.value("SELECT count(*) FROM lockgate.history WHERE direction = 'downgrade'") == 118


def test_the_oldest_alembic_and_sqlalchemy_take_revisions_back_the_same(environment, project, run, database):
    python = str(environment(*OLDEST))
    folder = project("returning")
    assert run(folder, driver="psycopg2", python=python).code == 0

    result = run(
        folder, "downgrade", "b2", "--downgrade", "Allow", driver="psycopg2", python=python, LOCKGATE_CONFIG="older.ini"
    )

    assert (result.code, result.reason, result.report.reached) == (0, "Downgraded", ("b2",)), result.output
    assert result.report.undone[0].revision == "m6"
    assert len(result.report.undone) == 6
    assert database.value("SELECT to_regclass('audit') IS NULL")
