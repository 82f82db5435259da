"""Commands that look know the version tables that only env.py names once a run was there, and claim nothing else."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from lockgate.runner.command_line import execute

pytestmark = pytest.mark.filterwarnings("ignore")

ENV = """
import os
from alembic import context
from sqlalchemy import create_engine, pool

connectable = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool, execution_options={options})
with connectable.connect() as connection:
    context.configure(connection=connection, {configure})
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = '''"""number {number}"""
from alembic import op

revision = "{number}"
down_revision = {parent!r}


def upgrade() -> None:
    op.execute("CREATE TABLE {schema}{name}_{number} (id integer)")


def downgrade() -> None:
    op.execute("DROP TABLE {schema}{name}_{number}")
'''


@pytest.fixture
def say(database, monkeypatch, capsys):
    """Run `lockgate` in this process, which is much quicker; return the exit code and the last line."""
    monkeypatch.setattr("lockgate.runner.interruption.Interruption.listen", lambda *_, **__: None)
    monkeypatch.setattr("sys.stdin", None)
    for name in [name for name in os.environ if name.startswith("LOCKGATE_")]:
        monkeypatch.delenv(name)

    def run_one(folder, command, *arguments, url=""):
        monkeypatch.chdir(folder)
        monkeypatch.setenv("DATABASE_URL", url or database.url())
        code = execute([command, "--output", "json", *arguments])
        return code, json.loads(capsys.readouterr().out.splitlines()[-1])

    return run_one


@pytest.fixture
def numbered(tmp_path):
    """Make a project whose revisions are called 1, 2, 3."""

    def make(name, count, *, configure="", options="{}", schema=""):
        folder = tmp_path / f"{name}-{count}"
        for below in ("migrations", "migrations/versions"):
            (folder / below).mkdir(parents=True)
        (folder / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
        (folder / "migrations" / "env.py").write_text(ENV.format(configure=configure, options=options))
        for number in range(1, count + 1):
            parent = str(number - 1) if number > 1 else None
            text = REVISION.format(name=name, number=number, parent=parent, schema=schema)
            (folder / "migrations" / "versions" / f"{number}.py").write_text(text)
        return folder

    return make


def test_a_table_that_env_py_names_is_known_after_a_run_also_to_the_next_release(numbered, say):
    older = numbered("shop", 2, configure="version_table='shop_version'")
    before = say(older, "status")[1]
    assert "There is no version table alembic_version (where env.py configures another one" in before["message"]
    assert say(older, "wait", "--timeout", "0s")[0] == 12
    assert say(older, "migrate")[0] == 0

    status = say(older, "status")[1]
    assert (status["reason"], status["status"]["version_table"]) == ("NothingToDo", "public.shop_version")
    assert [say(older, *command)[0] for command in (("check",), ("wait", "--timeout", "0s"))] == [0, 0]
    assert "public.shop_version" in say(older, "unlock")[1]["message"]
    assert say(older, "wait", "--timeout", "0s", "--revision", "2")[0] == 0

    newer = numbered("shop", 3, configure="version_table='shop_version'")
    pending = say(newer, "status")[1]
    assert (pending["reason"], pending["status"]["pending"], pending["current"]) == ("RevisionsPending", 1, ["2"])
    assert say(newer, "wait", "--timeout", "0s")[0] == 12


def test_without_what_runs_recorded_the_history_tells_and_keeps_projects_apart(numbered, say, database):
    shop = numbered("shop", 4, configure="version_table='shop_version'")
    bill = numbered("bill", 2, configure="version_table='bill_version'")
    for folder in (shop, bill):
        assert say(folder, "migrate")[0] == 0
    database.rows("TRUNCATE lockgate.projects")

    for folder, table, at in ((shop, "public.shop_version", ["4"]), (bill, "public.bill_version", ["2"])):
        status = say(folder, "status")[1]
        assert (status["reason"], status["status"]["version_table"], status["current"]) == ("NothingToDo", table, at)


def test_the_tables_of_all_tenants_count(project, say, database):
    folder = project("tenants")
    assert say(folder, "migrate")[0] == 0

    status = say(folder, "status")[1]
    assert status["reason"] == "NothingToDo"
    assert status["status"]["version_table"] == "ann.alembic_version, bob.alembic_version"

    database.rows("DELETE FROM bob.alembic_version")
    status = say(folder, "status")[1]
    assert (status["reason"], status["status"]["pending"]) == ("RevisionsPending", 3)
    assert (say(folder, "check")[0], say(folder, "wait", "--timeout", "0s")[0]) == (23, 12)


def test_another_search_path_is_another_database_of_which_nothing_is_claimed(project, say, database):
    folder = project("sync")
    urls = {name: f"{database.url()}?options=-csearch_path%3D{name}" for name in ("ann", "bob")}
    for schema in urls:
        database.rows(f"CREATE SCHEMA {schema}")
    assert say(folder, "migrate", url=urls["ann"])[0] == 0

    assert say(folder, "status", url=urls["ann"])[1]["reason"] == "NothingToDo"
    bob = say(folder, "status", url=urls["bob"])[1]
    assert (bob["reason"], bob["status"]["version_table"]) == ("RevisionsPending", None)
    assert say(folder, "wait", "--timeout", "0s", url=urls["bob"])[0] == 12
    database.rows("TRUNCATE lockgate.projects")
    message = say(folder, "status", url=urls["bob"])[1]["message"]
    assert "the search_path finds no alembic_version; lockgate.history knows ann.alembic_version" in message.lower()


def test_a_schema_that_sqlalchemy_translates_is_where_the_version_table_is(numbered, say, database):
    database.rows("CREATE SCHEMA ann")
    options = "{'schema_translate_map': {None: 'ann'}}"
    folder = numbered("shop", 2, options=options, schema="ann.")

    assert say(folder, "migrate")[1]["reason"] == "Migrated"
    assert say(folder, "migrate")[1]["reason"] == "NothingToDo"
    assert say(folder, "status")[1]["status"]["version_table"] == "ann.alembic_version"
    assert say(folder, "plan")[1]["reason"] == "NothingToDo"


def test_revisions_that_only_env_py_can_load_are_known_from_a_run_of_these_very_files(project, say, run):
    folder = project("application")
    assert say(folder, "status")[1]["reason"] == "TargetUnknown"
    assert say(folder, "wait", "--timeout", "0s")[0] == 21
    assert run(folder, "migrate").code == 0  # in a process of its own: it leaves the application set up

    status = say(folder, "status")[1]
    assert (status["reason"], status["target"], status["status"]["pending"]) == ("NothingToDo", ["a2"], 0)
    assert [say(folder, *command)[0] for command in (("check",), ("wait", "--timeout", "0s"))] == [0, 0]

    shutil.copy(folder / "versions" / "a2.py", folder / "versions" / "a3.py")
    assert say(folder, "status")[1]["reason"] == "TargetUnknown"


def test_a_version_row_that_was_deleted_is_missed(numbered, say, database):
    folder = numbered("shop", 2)
    assert say(folder, "migrate")[0] == 0
    database.rows("DELETE FROM alembic_version")

    message = say(folder, "status")[1]["message"]
    assert "lockgate.history has 2 as applied to public.alembic_version (was its row deleted?)" in message

    assert say(folder, "baseline", "2")[1]["reason"] == "Adopted"
    assert say(folder, "status")[1]["reason"] == "NothingToDo"


def test_a_role_that_may_not_read_what_runs_recorded_says_so_and_claims_nothing(numbered, say, database):
    folder = numbered("shop", 2, configure="version_table='shop_version'")
    assert say(folder, "migrate")[0] == 0
    role = f"looker_{os.getpid()}"
    database.rows(f"CREATE ROLE {role} LOGIN PASSWORD 'y7-looker-word'")
    try:
        url = f"postgresql+psycopg://{role}:y7-looker-word@{database.url().partition('@')[2]}"

        message = say(folder, "status", url=url)[1]["message"]

        assert "There is no version table alembic_version" in message
        assert "this role may not read lockgate.history, which would tell" in message
        assert say(folder, "wait", "--timeout", "0s", url=url)[0] == 12
    finally:
        database.rows(f"DROP ROLE {role}")


def test_a_plan_is_made_for_the_schema_that_env_pys_session_is_set_to(numbered, say, database):
    database.rows("CREATE SCHEMA ann")
    folder = numbered("shop", 2)
    env = folder / "migrations" / "env.py"
    sets = "connection.exec_driver_sql('SET search_path TO ann')\n    connection.commit()\n"
    sets += "    connection.dialect.default_schema_name = 'ann'\n    context.configure("
    env.write_text(env.read_text().replace("context.configure(", sets))
    assert say(folder, "migrate")[0] == 0

    assert say(folder, "plan")[1]["reason"] == "NothingToDo"
    assert say(folder, "status")[1]["status"]["version_table"] == "ann.alembic_version"
