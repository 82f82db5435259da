"""A schema that exists without a version is taken for a revision when, and only when, it has that one's tables."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess

import pytest

OLDEST = ("alembic==1.8.1", "sqlalchemy==1.4.54", "psycopg2-binary>=2.9.10", "asyncpg>=0.30", "greenlet>=3.2")
"""As in test_real_images.py, so that they share the environment."""

TABLES = """
    CREATE TABLE people (id integer PRIMARY KEY, full_name text);
    CREATE TABLE orders (id integer PRIMARY KEY, person integer REFERENCES people, note text);
    CREATE SCHEMA audit;
    CREATE TABLE audit.events (id integer PRIMARY KEY, what text);
    INSERT INTO people VALUES (1, 'Ann');
"""


def versions(database):
    if database.value("SELECT to_regclass('alembic_version') IS NULL"):
        return []
    return [row[0] for row in database.rows("SELECT version_num FROM alembic_version")]


@pytest.mark.parametrize(
    ("style", "driver"), [("legacy", "psycopg2"), ("legacy", "psycopg"), ("legacy_async", "asyncpg")]
)
def test_a_schema_made_by_a_script_is_taken_for_its_revision(style, driver, run, project, database):
    database.rows(TABLES)
    database.rows("CREATE TABLE of_somebody_else (id integer)")

    result = run(project(style), "baseline", "g3", driver=driver)

    assert (result.code, result.reason) == (0, "Adopted"), result.output
    assert result.report.message == "Took the schema for g3: all of its 3 tables are there. Nothing was applied."
    assert result.report.applied == ()
    assert (result.report.reached, versions(database)) == (("g3",), ["g3"])
    recorded = database.rows("SELECT revision, direction, parents, source <> '' FROM lockgate.history")
    assert recorded == [("g3", "baseline", '["g2"]', True)]
    assert database.advisory_locks() == 0

    migrated = run(project(style), driver=driver)
    assert (migrated.code, [step.revision for step in migrated.report.applied]) == (0, ["g4"]), migrated.output


@pytest.mark.parametrize(("style", "driver"), [("legacy", "psycopg2"), ("legacy_async", "asyncpg")])
def test_the_oldest_alembic_and_sqlalchemy_adopt_the_same(style, driver, environment, run, project, database):
    python = str(environment(*OLDEST))
    database.rows(TABLES)

    wrong = run(project(style), "baseline", "g4", driver=driver, python=python)
    result = run(project(style), driver=driver, python=python, LOCKGATE_BASELINE="g3")

    assert (wrong.code, "columns missing: orders.price." in wrong.report.message) == (22, True), wrong.output
    assert (result.code, [step.revision for step in result.report.applied]) == (0, ["g4"]), result.output


def test_a_schema_made_by_create_all_is_taken_for_its_revision(run, project, database):
    run(project("legacy"), CREATE_ALL="yes")

    result = run(project("legacy"), "baseline", "g3")

    assert (result.code, result.reason) == (0, "Adopted"), result.output


def test_who_migrates_such_a_schema_without_a_word_is_told_of_baselines(run, project, database):
    database.rows(TABLES)

    result = run(project("legacy"))

    assert (result.code, result.reason) == (20, "MigrationFailed"), result.output
    assert "say which revision it is at: `lockgate baseline REVISION`" in result.report.message


@pytest.mark.parametrize("schema", ["public", "shop"])
def test_a_dump_that_was_restored_is_taken_for_its_revision(schema, run, project, database, make_database, missing):
    source = make_database()
    source.rows(f"CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path = {schema}; {TABLES}")
    pg_dump = shutil.which("pg_dump")
    if pg_dump is None:
        missing("pg_dump is missing: apt-get install postgresql-client")
    url = source.url().replace("+psycopg", "")
    dump = subprocess.run([pg_dump, "--no-owner", url], capture_output=True, text=True, check=False)
    if "server version mismatch" in dump.stderr:
        pytest.skip("pg_dump is older than this server")
    script = "\n".join(line for line in dump.stdout.splitlines() if not line.startswith("\\"))
    database.rows(script.replace("COPY", "-- COPY").replace("1\tAnn", "-- 1"))

    result = run(project("legacy"), "baseline", "g3", SCHEMA=schema)

    assert (result.code, result.reason) == (0, "Adopted"), result.output


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("DROP TABLE orders", "1 of its 3 tables missing: orders."),
        (
            "DROP TABLE audit.events; ALTER TABLE people RENAME TO users",
            "2 of its 3 tables missing: people, audit.events.",
        ),
        ("ALTER TABLE orders DROP COLUMN note", "columns missing: orders.note."),
        ("ALTER TABLE audit.events SET SCHEMA public", "1 of its 3 tables missing: audit.events."),
    ],
)
@pytest.mark.parametrize("command", [("baseline", "g3"), ("migrate", "--baseline", "g3")])
def test_what_is_missing_is_named_and_nothing_is_written(command, change, says, run, project, database):
    database.rows(TABLES)
    database.rows(change)

    result = run(project("legacy"), *command)

    assert (result.code, result.reason) == (22, "BaselineMismatch"), result.output
    assert f"The database is not at g3: {says} Nothing was stamped." in result.report.message
    assert versions(database) == []
    assert database.value("SELECT count(*) FROM lockgate.history") == 0


def test_an_earlier_revision_is_told_from_a_later_one(run, project, database):
    database.rows(TABLES)

    later, unknown = run(project("legacy"), "baseline", "g4"), run(project("legacy"), "baseline", "g9")

    assert (later.reason, "orders.price" in later.report.message) == ("BaselineMismatch", True), later.output
    assert (unknown.code, unknown.reason) == (21, "InvalidRevisions"), unknown.output
    assert versions(database) == []


def test_a_migration_with_a_baseline_adopts_and_goes_on_and_the_next_one_finds_nothing_to_do(run, project, database):
    database.rows(TABLES)
    folder = project("legacy")

    result, again = run(folder, LOCKGATE_BASELINE="g3"), run(folder, LOCKGATE_BASELINE="g3")

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert [step.revision for step in result.report.applied] == ["g4"]
    assert result.report.warnings == ("Took the schema for g3: all of its 3 tables are there.",)
    assert (again.code, again.reason) == (0, "NothingToDo"), again.output
    assert database.rows("SELECT direction, revision FROM lockgate.history ORDER BY id") == [
        ("baseline", "g3"),
        ("upgrade", "g4"),
    ]


def test_a_migration_with_a_baseline_migrates_an_empty_database_from_the_beginning(run, project, database):
    database.rows("CREATE TABLE of_somebody_else (id integer)")

    result = run(project("legacy"), LOCKGATE_BASELINE="g3")

    assert (result.code, [step.revision for step in result.report.applied]) == (0, ["g1", "g2", "g3", "g4"]), (
        result.output
    )


def test_a_migration_with_a_baseline_leaves_a_database_with_a_version_alone(run, project, database):
    folder = project("legacy")
    run(folder, "migrate", "--target", "g1")

    result = run(folder, LOCKGATE_BASELINE="g3")

    assert (result.code, [step.revision for step in result.report.applied]) == (0, ["g2", "g3", "g4"]), result.output


def test_a_baseline_said_twice_is_no_error_and_one_that_contradicts_the_version_is(run, project, database):
    database.rows(TABLES)
    folder = project("legacy")
    run(folder, "baseline", "g3")

    again, earlier, later = (run(folder, "baseline", revision) for revision in ("g3", "g2", "g4"))

    assert (again.code, again.reason) == (0, "NothingToDo"), again.output
    assert (earlier.code, earlier.reason) == (0, "NothingToDo"), earlier.output
    assert (later.code, later.reason) == (22, "Refused"), later.output
    assert "The version table says g3, which does not contain g4." in later.report.message


def test_an_empty_database_is_at_no_revision(run, project, database):
    result = run(project("legacy"), "baseline", "g3")

    assert (result.code, result.reason) == (22, "BaselineMismatch"), result.output


def test_where_revisions_read_the_database_somebody_has_to_name_the_tables(run, project, database):
    folder = project("legacy")
    reading = folder / "versions" / "g2.py"
    reading.write_text(reading.read_text() + "    op.get_bind().execute(sa.text('SELECT 1 FROM people')).scalar()\n")
    database.rows(TABLES)

    result = run(folder, "baseline", "g3")

    assert (result.code, result.reason) == (21, "InvalidConfiguration"), result.output
    assert "Which tables g3 has cannot be known from the revision files" in result.report.message
    assert "g2 (" in result.report.message
    assert "it reads from the database at g2.py:" in result.report.message
    assert "--baseline-tables" in result.report.message
    assert versions(database) == []

    missing = run(folder, "baseline", "g3", "--baseline-tables", "people, audit.nothing")
    assert (missing.reason, "missing: audit.nothing" in missing.report.message) == ("BaselineMismatch", True)
    named = run(folder, "baseline", "g3", "--baseline-tables", "people, audit.events")
    assert (named.code, named.reason, versions(database)) == (0, "Adopted", ["g3"]), named.output


def test_of_the_heads_the_models_say_what_the_revisions_do_not(run, project, database):
    folder = project("legacy")
    (folder / "versions" / "g4.py").unlink()
    reading = folder / "versions" / "g2.py"
    reading.write_text(reading.read_text() + "    sa.inspect(op.get_bind())\n")
    database.rows(TABLES)
    database.rows("ALTER TABLE orders RENAME COLUMN note TO comment")

    wrong = run(folder, "baseline", "g3")
    database.rows("ALTER TABLE orders RENAME COLUMN comment TO note")
    result = run(folder, "baseline", "heads")

    assert (wrong.code, "columns missing: orders.note." in wrong.report.message) == (22, True), wrong.output
    assert (result.code, result.reason, versions(database)) == (0, "Adopted", ["g3"]), result.output


def test_several_heads_are_all_written(run, project, database):
    folder = project("several_heads")
    run(folder)
    heads = versions(database)
    database.rows("DROP TABLE alembic_version; DROP SCHEMA lockgate CASCADE")

    result = run(folder, "baseline", "heads")

    assert (result.code, result.reason) == (0, "Adopted"), result.output
    assert sorted(versions(database)) == sorted(heads)
    assert run(folder).reason == "NothingToDo"


def test_a_project_with_several_version_tables_is_refused(run, project, database):
    database.rows(TABLES)

    result = run(project("legacy"), "baseline", "g3", VERSION_TABLES="alembic_version,alembic_version_other")

    assert (result.code, result.reason) == (22, "Refused"), result.output
    assert "env.py migrates 2 version tables" in result.report.message
    assert versions(database) == []


def test_a_sqlite_file_is_taken_for_its_revision(run, project, tmp_path):
    file = tmp_path / "shop.db"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.executescript("CREATE TABLE people (id, full_name); CREATE TABLE orders (id, person, note);")
    url, folder = f"sqlite:///{file}", project("legacy")

    too_late, result = run(folder, "baseline", "g4", url=url), run(folder, "baseline", "g2", url=url)

    assert (too_late.code, too_late.reason) == (22, "BaselineMismatch"), too_late.output
    assert (result.code, result.reason) == (0, "Adopted"), result.output
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("g2",)]
