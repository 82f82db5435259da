"""What a run says of a database that is ahead, behind, busy, broken, foreign or not there, and of health checks."""

from __future__ import annotations

import json
import socket

import psycopg
import pytest


def test_a_second_run_takes_the_fast_path_and_runs_nothing_of_the_application(project, run, tmp_path):
    folder, seen = project("sync"), tmp_path / "seen"
    with (folder / "migrations" / "env.py").open("a") as env:
        env.write('\nopen(os.environ["SEEN"], "a").write("once")\n')
    run(folder, SEEN=str(seen))

    result = run(folder, SEEN=str(seen))

    assert (result.code, result.reason) == (0, "NothingToDo"), result.output
    assert not result.progress
    assert result.report.revisions == ("r1", "r2", "r3", "r4")
    assert seen.read_text() == "once"


def test_the_fast_path_is_not_taken_once_the_database_is_another(project, run, database):
    folder = project("sync")
    run(folder)
    database.rows("DELETE FROM items")
    database.rows("UPDATE alembic_version SET version_num = 'r3'")

    result = run(folder)

    assert [step.revision for step in result.report.applied] == ["r4"], result.output


def test_an_older_image_accepts_a_database_that_is_ahead_by_recorded_lineage(project, run):
    run(project("newer"))

    result = run(project("older"))

    report = result.report
    assert (result.code, result.reason, report.outcome) == (0, "DatabaseAhead", "Succeeded"), result.output
    assert (report.reached, report.revisions) == (("t4",), ("t1", "t2", "t3", "t4"))


def test_an_older_image_is_blocked_where_the_policy_says_so(project, run):
    run(project("newer"))

    result = run(project("older"), LOCKGATE_DATABASE_AHEAD="Block")

    assert (result.code, result.reason) == (22, "DatabaseAhead"), result.output


def test_a_revision_that_nobody_knows_is_refused_and_named(project, run, database):
    database.rows("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    database.rows("INSERT INTO alembic_version VALUES ('feedc0de')")

    result = run(project("older"))

    assert (result.code, result.reason) == (22, "DatabaseAhead"), result.output
    assert "feedc0de" in result.report.message
    assert "no record" in result.report.message


def test_checks_that_pass_are_reported_and_one_that_fails_closes_the_gate(project, run):
    folder = project("sync")
    checks = [
        {"name": "filled", "sql": {"query": "SELECT count(*) > 99 FROM items WHERE name LIKE 'item %'"}},
        {"sql": {"query": "SELECT max(id) FROM items", "expect": "100"}},
    ]
    passed = run(folder, LOCKGATE_CHECKS=json.dumps(checks))
    assert passed.code == 0, passed.output
    assert [(check.name, check.passed) for check in passed.report.checks] == [
        ("revision", True), ("indexes", True), ("filled", True), ("sql-2", True)
    ]  # fmt: skip

    checks.append({"name": "wrong", "sql": {"query": "SELECT ':x' || '50%'", "expect": "7"}})
    failed = run(folder, LOCKGATE_CHECKS=json.dumps(checks))
    assert (failed.code, failed.reason) == (23, "CheckFailed"), failed.output
    assert "wrong: expected 7, found :x50%" in failed.report.message
    assert failed.report.reached == ("r4",)


def test_a_check_cannot_write(project, run, database):
    checks = [{"name": "sly", "sql": {"query": "INSERT INTO items VALUES (-1, 'x') RETURNING true"}}]

    result = run(project("sync"), LOCKGATE_CHECKS=json.dumps(checks))

    assert (result.code, result.reason) == (23, "CheckFailed"), result.output
    assert "read-only" in result.report.message
    assert database.value("SELECT count(*) FROM items WHERE id = -1") == 0


def test_an_index_that_a_revision_leaves_invalid_is_found(project, run):
    result = run(project("duplicates"))
    assert (result.code, result.reason) == (23, "CheckFailed"), result.output
    assert "public.items_email" in result.report.message

    again = run(project("duplicates"))  # by now it was invalid before, and yet nobody has found it right
    assert (again.code, again.reason) == (23, "CheckFailed"), again.output

    ignored = run(project("duplicates"), LOCKGATE_CHECKS='[{"indexes": {"ignore": ["items_email"]}}]')
    assert ignored.code == 0, ignored.output


def test_no_credential_appears_in_anything_that_is_said(project, run, database):
    secret = psycopg.conninfo.conninfo_to_dict(database.url().replace("+psycopg", ""))["password"]
    assert "%" in secret
    outputs = [
        run(project("sync")).output,
        run(project("failing")).output,
        run(project("sync"), url=database.url().replace("/lockgate_test", "/nowhere_test")).output,
        run(project("sync"), url=database.url().replace(":s3", ":wrong-s3")).output,
        run(project("sync"), url=database.url().replace("+psycopg", "+nothing")).output,
        run(project("sync"), "migrate", "--checks", database.url()).output,
        run(project("sync"), url="host=db password=hunter22", LOCKGATE_OUTPUT="plain").output,
    ]

    for output in outputs:
        assert secret not in output
        assert secret.replace("%", "%25") not in output
        assert "hunter22" not in output


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_a_wrong_password_is_a_matter_of_configuration(driver, project, run, database):
    result = run(project("sync"), url=database.url(driver).replace(":s3cret", ":wrong"))

    assert (result.code, result.reason) == (21, "InvalidConfiguration"), result.output
    assert "refuses the login" in result.report.message


def test_a_database_that_does_not_answer_is_unreachable_for_the_wait_too(project, run):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql+psycopg://shop:pw@127.0.0.1:{nobody.getsockname()[1]}/shop"

        result = run(project("sync"), "wait", "--timeout", "1s", url=url)

    assert (result.code, result.reason) == (12, "SchemaNotReady"), result.output
    assert "No connection to the database" in result.report.message


def test_without_the_right_to_create_the_schema_the_run_succeeds_with_a_warning(project, run, database):
    database.rows("CREATE ROLE plain LOGIN PASSWORD 'plain-word'")
    try:
        database.rows("GRANT ALL ON SCHEMA public TO plain")
        url = database.url().replace(database.url().split("//")[1].split("@")[0], "plain:plain-word")

        result = run(project("sync"), url=url)

        assert (result.code, result.reason) == (0, "Migrated"), result.output
        said = "CREATE SCHEMA lockgate AUTHORIZATION plain"
        assert "No right to create the schema lockgate" in result.report.warnings[0]
        assert said in result.report.warnings[0]
        assert database.value("SELECT to_regnamespace('lockgate')") is None

        database.rows(said)
        run(project("sync"), "migrate", "--target", "r4", url=url)
        again = run(project("sync"), "migrate", "--target", "r4", url=url)

        assert (again.report.warnings, again.progress) == ((), []), again.output  # the fast path is remembered
    finally:
        database.rows("DROP OWNED BY plain")
        database.rows("DROP ROLE plain")


def test_bad_values_are_refused_before_anything_is_touched(project, run, tmp_path):
    message = tmp_path / "termination"
    result = run(
        project("sync"), "migrate", "--lock-wait", "soon", url="nowhere", LOCKGATE_TERMINATION_MESSAGE=str(message)
    )

    assert (result.code, result.reason) == (21, "InvalidConfiguration"), result.output
    assert "--lock-wait" in result.report.message
    assert "LOCKGATE_LOCK_WAIT" in result.report.message
    assert json.loads(message.read_text())["reason"] == "InvalidConfiguration"


def test_a_variable_that_is_not_set_is_named(project, run):
    result = run(project("sync"), LOCKGATE_DATABASE_ENV="SHOP_URL")

    assert (result.code, result.reason) == (21, "InvalidConfiguration"), result.output
    assert "SHOP_URL" in result.report.message


def test_the_termination_message_is_the_report(project, run, tmp_path):
    message = tmp_path / "termination"

    result = run(project("sync"), LOCKGATE_TERMINATION_MESSAGE=str(message))

    assert json.loads(message.read_text()) == json.loads(result.output.splitlines()[-1])


def test_wait_ends_when_the_migration_has_run(project, start, run, eventually):
    folder = project("sync")
    waiting = start(folder, "wait", "--timeout", "60s")
    eventually(lambda: any('"waiting"' in line for line in waiting.lines))

    run(folder)
    result = waiting.end()

    assert (result.code, result.reason) == (0, "SchemaReady"), result.output
    assert any("4 revisions before r4" in event["waiting_for"] for event in result.progress)


def test_wait_gives_up_in_time_and_says_what_is_missing(project, run):
    folder = project("sync")
    run(folder, "migrate", "--target", "r2")

    result = run(folder, "wait", "--timeout", "0s")

    assert (result.code, result.reason) == (12, "SchemaNotReady"), result.output
    assert "the database is at r2, 2 revisions before r4" in result.report.message


def test_wait_is_satisfied_by_a_newer_database(project, run):
    run(project("newer"))

    assert run(project("older"), "wait", "--timeout", "0s").code == 0
    assert run(project("older"), "wait", "--timeout", "0s", "--revision", "t2").code == 0
    assert run(project("older"), "wait", "--timeout", "0s", "--revision", "t9").code == 12


def test_wait_finds_a_version_table_elsewhere(project, run):
    run(project("tenants"))

    result = run(project("tenants"), "wait", "--timeout", "0s", "--version-table", "bob.alembic_version")

    assert result.code == 0, result.output


@pytest.mark.parametrize(
    "text",
    [
        "nonsense\n",
        "[alembic]\nscript_location = %(nothing)s/migrations\n",
        "[alembic]\nscript_location = 50%\n",
        "[alembic]\nscript_location = a\nscript_location = b\n",
    ],
)
def test_an_ini_file_that_cannot_be_read_is_a_matter_of_configuration(text, project, run):
    folder = project("sync")
    (folder / "alembic.ini").write_text(text)

    result = run(folder)

    assert (result.code, result.reason) == (21, "InvalidConfiguration"), result.output
    assert "alembic.ini cannot be used" in result.report.message


@pytest.mark.parametrize("command", ["migrate", "wait"])
@pytest.mark.parametrize("text", ["def (\n", "import sys\nsys.exit(3)\n"])
def test_a_revision_file_that_cannot_be_loaded_is_reported(text, command, project, run):
    folder = project("sync")
    (folder.parent / "revisions" / "r2.py").write_text(text)

    result = run(folder, command)

    assert (result.code, result.reason) == (21, "InvalidRevisions"), result.output


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_an_option_of_the_url_that_no_driver_knows_is_refused_at_once(driver, project, run, database):
    result = run(project("sync"), url=f"{database.url(driver)}?nonsense=1")

    assert (result.code, result.reason) == (21, "InvalidConfiguration"), result.output


def test_a_check_that_loses_its_connection_or_waits_for_a_lock_can_be_tried_again(project, run, database):
    dying = [{"sql": {"query": "SELECT pg_terminate_backend(pg_backend_pid())"}}]
    lost = run(project("sync"), LOCKGATE_CHECKS=json.dumps(dying), LOCKGATE_DDL_LOCK_ATTEMPTS="2")
    assert (lost.code, lost.reason) == (11, "DatabaseUnreachable"), lost.output

    with database.connect() as other:
        other.execute("LOCK TABLE items")
        held = run(project("sync"), LOCKGATE_CHECKS=json.dumps([{"sql": {"query": "SELECT true FROM items LIMIT 1"}}]))
    assert (held.code, held.reason) == (12, "DatabaseBusy"), held.output


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_revision_is_recorded_also_where_the_database_has_no_letter_for_its_text(
    driver, project, run, database, administration
):
    name = f"{database.name}_latin"
    with psycopg.connect(administration, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0")
    try:
        folder = project("sync")
        revision = folder.parent / "revisions" / "r2.py"
        revision.write_text(f"# a \N{RIGHTWARDS ARROW} b\n{revision.read_text()}")

        result = run(folder, url=database.url(driver).replace(database.name, name))

        assert (result.code, result.reason) == (0, "Migrated"), result.output
        with psycopg.connect(administration.rpartition("/")[0] + f"/{name}") as connection:
            source = connection.execute("SELECT source FROM lockgate.history WHERE revision = 'r2'").fetchone()
        assert source is not None
        assert source[0].startswith("# a \\u2192 b")
    finally:
        with psycopg.connect(administration, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_wait_never_queues_for_the_version_table(project, run, start, database, eventually):
    run(project("sync"))
    with database.connect() as other:
        other.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        process = start(project("sync"), "wait")
        eventually(lambda: any("lock timeout" in line for line in process.lines))
        other.rollback()

    assert process.end().code == 0


@pytest.mark.parametrize(
    ("before", "url", "code", "reason", "words"),
    [
        ("SELECT * FROM nowhere", "DATABASE_URL", 20, "MigrationFailed", "nowhere"),
        ("SELECT 1", "CLOSED_URL", 11, "DatabaseUnreachable", "refused"),
    ],
)
def test_an_error_that_env_py_swallows_before_it_configures_is_what_the_run_failed_of(
    before, url, code, reason, words, project, run, database
):
    folder = project("sync")
    (folder / "migrations" / "env.py").write_text(
        "import os\nfrom sqlalchemy import create_engine\ntry:\n"
        f"    with create_engine(os.environ['{url}']).connect() as connection:\n"
        f"        connection.exec_driver_sql('{before}')\nexcept Exception:\n    print('never mind')\n"
    )
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        closed_url = f"postgresql+psycopg://shop@127.0.0.1:{closed.getsockname()[1]}/shop"

        result = run(folder, "migrate", "--ddl-lock-attempts", "2", CLOSED_URL=closed_url)

    assert (result.code, result.reason) == (code, reason), result.output
    assert words in result.report.message


def test_a_server_that_does_not_answer_asyncpg_is_unreachable_and_no_failure_of_env_py(project, run, database):
    folder = project("async")
    env = folder / "migrations" / "env.py"
    text = env.read_text()
    env.write_text(
        text.replace('os.environ["DATABASE_URL"]', 'os.environ["SILENT_URL"], connect_args={"timeout": 0.2}')
    )
    assert env.read_text() != text
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+asyncpg://shop@127.0.0.1:{silent.getsockname()[1]}/shop"

        result = run(folder, "migrate", "--ddl-lock-attempts", "2", driver="asyncpg", SILENT_URL=url)

    assert (result.code, result.reason, result.report.attempts) == (11, "DatabaseUnreachable", 2), result.output


def test_a_run_that_begins_again_tells_of_all_that_it_has_applied(written, run, database, tmp_path):
    """The server ends all sessions of the run once, as a restart does: nobody can read then what has been committed."""
    folder = written(
        "op.execute('CREATE TABLE n1 ()')",
        f"""
import pathlib
once = pathlib.Path({str(tmp_path / "once")!r})
if not once.exists():
    once.touch()
    op.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()")
op.execute('CREATE TABLE n2 ()')
""",
    )

    result = run(folder)

    assert (result.code, result.report.attempts) == (0, 2), result.output
    assert [step.revision for step in result.report.applied] == ["n1", "n2"]
    assert (result.report.current, result.report.reached) == ((), ("n2",))


def test_a_line_break_at_the_end_of_the_url_is_none_for_env_py_either(project, run, database):
    result = run(project("sync"), url=f"{database.url()}\n")

    assert (result.code, result.reason) == (0, "Migrated"), result.output
