"""Health checks on a real database: what is there, constraints, and whether the models are what the database is."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.each_postgres

OLDEST = ("alembic==1.8.1", "sqlalchemy==1.4.54", "psycopg2-binary>=2.9.10", "asyncpg>=0.30", "greenlet>=3.2")
"""As in test_real_images.py, so that they share the environment."""

MODELS = """
import sqlalchemy
import sys
entries = sys.__dict__.setdefault("entries_into_env", [])
entries.append(1)
metadata = sqlalchemy.MetaData()
sqlalchemy.Table(
    "items", metadata,
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True), sqlalchemy.Column("name", sqlalchemy.Text),
)
"""
LIKE_THE_REVISIONS = """
sqlalchemy.Index("items_name", metadata.tables["items"].c.name)
sqlalchemy.Table(
    "notes", metadata,
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("item", sqlalchemy.ForeignKey("items.id")),
)
"""


def modelled(folder, models: str, before: str = "pass"):
    """Give the env.py as it was these models, and a statement before configure()."""
    env, original = folder / "migrations" / "env.py", folder / "env.txt"
    if not original.exists():
        original.write_text(env.read_text())
    configure = "context.configure(connection=connection"
    assert configure in original.read_text()
    changed = f"{before}; {configure}, target_metadata=metadata, include_schemas=True"
    env.write_text(MODELS + models + original.read_text().replace(configure, changed))
    return folder


def failed(result) -> str:
    assert (result.code, result.reason) == (23, "CheckFailed"), result.output
    return str(result.report.message)


def test_what_exists_passes_and_all_that_is_missing_is_named(project, run, database):
    folder = project("sync")
    there = {
        "tables": ["items", "public.notes"],
        "indexes": ["items_name"],
        "columns": ["items.id", "public.notes.item"],
    }
    passed = run(folder, LOCKGATE_CHECKS=json.dumps([{"exists": there}]))
    assert passed.code == 0, passed.output
    database.rows("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'items_name'::regclass")

    missing = {"tables": ["Items", "shop.items", "items_name"], "indexes": ["items_name"], "columns": ["items.ID"]}
    message = failed(run(folder, LOCKGATE_CHECKS=json.dumps([{"exists": {**there, **missing}}])))

    assert "missing: table Items, table shop.items, table items_name, index items_name, column items.ID" in message, (
        message
    )


def test_a_constraint_that_a_revision_leaves_not_valid_is_found_and_an_older_one_is_not(project, run, database):
    folder, checks = project("sync"), '[{"constraints": {}}]'
    run(folder)
    database.rows("ALTER TABLE notes ADD CONSTRAINT older CHECK (item > 0) NOT VALID")
    database.rows("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'items_name'::regclass")
    again = run(folder, LOCKGATE_CHECKS=checks)
    assert (again.code, again.reason) == (0, "NothingToDo"), again.output

    (folder.parent / "revisions" / "r5.py").write_text(
        "from alembic import op\nrevision, down_revision = 'r5', 'r4'\n\n\ndef upgrade():\n"
        "    op.execute('ALTER TABLE notes ADD CONSTRAINT newer CHECK (id > 0) NOT VALID')\n"
        "    op.execute('CREATE DOMAIN age AS integer')\n"
        "    op.execute('ALTER DOMAIN age ADD CONSTRAINT adult CHECK (VALUE > 17) NOT VALID')\n"
    )
    message = failed(run(folder, LOCKGATE_CHECKS=checks))

    assert "NOT VALID: public.age.adult, public.notes.newer;" in message


def test_models_like_the_database_pass_and_others_are_drift_unless_it_is_ignored(project, run):
    folder = modelled(project("sync"), LIKE_THE_REVISIONS)
    passed = run(folder, LOCKGATE_CHECKS='[{"drift": {}}]')
    assert passed.code == 0, passed.output
    assert [(check.name, check.passed) for check in passed.report.checks][-1] == ("drift", True)

    modelled(folder, "sqlalchemy.Table('orders', metadata, sqlalchemy.Column('id', sqlalchemy.Integer))\n")
    message = failed(run(folder, LOCKGATE_CHECKS='[{"drift": {"ignore": ["items"]}}]'))
    assert "models and database differ: " in message
    assert "table orders only in the models" in message
    assert "table notes only in the database" in message
    assert "items_name" not in message
    assert "lockgate" not in message

    ignored = run(folder, LOCKGATE_CHECKS='[{"drift": {"ignore": ["orders", "notes", "index items_name"]}}]')
    assert ignored.code == 0, ignored.output


def test_drift_is_found_with_the_oldest_alembic(project, run, environment):
    python = environment(*OLDEST)

    result = run(
        modelled(project("async"), ""), driver="asyncpg", python=str(python), LOCKGATE_CHECKS='[{"drift": {}}]'
    )

    assert "notes only in the database" in failed(result)


def test_an_env_file_without_models_is_told_apart_from_drift(project, run):
    assert "env.py gives no target_metadata" in failed(run(project("sync"), LOCKGATE_CHECKS='[{"drift": {}}]'))


def test_a_database_that_is_ahead_after_a_rollback_is_not_compared(project, run):
    run(project("newer"))

    result = run(modelled(project("older"), ""), LOCKGATE_CHECKS='[{"drift": {}}]')

    assert (result.code, result.reason) == (0, "DatabaseAhead"), result.output
    assert "ahead of this image" in result.report.checks[-1].message


@pytest.mark.parametrize(
    ("style", "driver", "entries"),
    [("sync", "psycopg2", 1), ("pooled_async", "asyncpg", 1), ("engine_begin", "psycopg", 1)],
)
def test_env_py_is_entered_again_and_cannot_write_then(style, driver, entries, project, run, database):
    sly = f"len(entries) > {entries} and connection.execute(sqlalchemy.text('CREATE TABLE sly (id integer)'))"
    folder = modelled(project(style), "", before=sly)

    result = run(folder, driver=driver, LOCKGATE_CHECKS='[{"drift": {}}]')

    assert "env.py writes to the database by itself" in failed(result)
    assert "CREATE TABLE sly" in result.report.message
    assert database.rows("SELECT 1 FROM pg_class WHERE relname = 'sly'") == []
    assert database.advisory_locks() == 0


def test_an_env_file_that_makes_its_own_schema_can_be_compared(project, run):
    result = run(modelled(project("search_path"), ""), LOCKGATE_CHECKS='[{"drift": {}}]')

    assert "notes only in the database" in failed(result)


def test_a_command_and_a_request_that_fail_say_so_without_a_secret(project, run, database):
    program = ["python3", "-c", "import os; print(os.environ['DATABASE_URL']); exit(3)"]
    checks = [
        {"name": "smoke", "command": {"command": program}},
        {"http": {"url": "http://ann:geheim@127.0.0.1:1/up?key=hidden", "timeout": "100ms"}},
        {"command": {"command": ["true"]}},
    ]

    result = run(project("sync"), LOCKGATE_CHECKS=json.dumps(checks))

    message = failed(result)
    assert "smoke: exit code 3: postgresql+psycopg://***@" in message
    assert "http-2: http://127.0.0.1:1/up?***: expected 200, got Connection refused" in message
    assert "command-3" not in message
    for secret in ("s3cret", "geheim", "hidden"):
        assert secret not in result.output
    broken = run(project("sync"), "migrate", "--checks", json.dumps([{**checks[1], "names": ""}]))
    assert (broken.code, broken.reason) == (21, "InvalidConfiguration"), broken.output
    assert "geheim" not in broken.output
    assert "hidden" not in broken.output
