"""Commands that look, and `unlock`: they tell what is there, and change nothing but the session they were told to end."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess

import pytest


def last(result):
    return json.loads(result.output.splitlines()[-1])


def relations(database):
    return database.rows(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname !~ '^pg_|information_schema' ORDER BY 1, 2"
    )


def test_status_tells_rows_target_and_what_is_pending_and_takes_no_lock(project, run, database):
    before = last(run(project("sync"), "status"))
    assert (before["reason"], before["status"]["current"], before["status"]["pending"]) == ("RevisionsPending", [], 4)
    assert before["status"]["version_table"] is None
    assert relations(database) == []

    run(project("sync"), "migrate", "--target", "r2")
    after = last(run(project("sync"), "status"))
    assert (after["status"]["current"], after["status"]["target"], after["status"]["pending"]) == (["r2"], ["r4"], 2)
    assert (after["status"]["version_table"], after["status"]["holders"]) == ("public.alembic_version", [])

    run(project("sync"))
    plain = run(project("sync"), "status", "--output", "plain")
    assert plain.code == 0
    assert "  pending        0\n" in plain.output
    assert "  lock           free\n" in plain.output


def test_status_and_check_know_a_database_that_is_ahead(project, run):
    run(project("newer"))

    status = last(run(project("older"), "status"))
    assert (status["reason"], status["status"]["ahead"]) == ("DatabaseAhead", True)
    assert run(project("older"), "check").code == 0
    assert run(project("older"), "check", "--database-ahead", "Block").code == 23


def test_history_is_the_newest_first_and_needs_nothing_of_the_image(project, run, tmp_path):
    assert last(run(tmp_path, "history"))["reason"] == "NoHistory"
    run(project("sync"), "migrate", "--image", "shop:1")

    shown = last(run(tmp_path, "history", "--limit", "2"))["history"]

    assert [(row["revision"], row["message"], row["image"]) for row in shown] == [
        ("r4", "fill items", "shop:1"),
        ("r3", "index items by name", "shop:1"),
    ]
    assert "r1 add items" in run(tmp_path, "history", "--output", "plain").output


def test_plan_renders_the_sql_of_what_is_pending_and_changes_nothing(project, run, database):
    run(project("sync"), "migrate", "--target", "r1")
    database.rows("DROP SCHEMA lockgate CASCADE")
    before = relations(database)

    result = run(project("sync"), "plan")

    planned = last(result)["plan"]
    assert [step["revision"] for step in planned] == ["r2", "r3", "r4"], result.output
    assert "CREATE TABLE notes" in planned[0]["sql"]
    assert "CREATE INDEX CONCURRENTLY items_name" in planned[1]["sql"]
    assert "INSERT INTO items" in planned[2]["sql"]
    assert (relations(database), database.value("SELECT version_num FROM alembic_version")) == (before, "r1")
    assert "-- 1/3 r2 add notes" in run(project("sync"), "plan", "--output", "plain").output


def test_plan_says_which_revision_cannot_be_rendered_and_why(project, run):
    folder = project("sync")
    (folder.parent / "revisions" / "r2.py").write_text(
        '"""read notes"""\n\nfrom alembic import op\nfrom sqlalchemy import text\n\nrevision = "r2"\ndown_revision = "r1"\n'
        "\n\ndef upgrade():\n    op.execute('CREATE TABLE half (id integer)')\n"
        "    op.get_bind().execute(text('SELECT 1')).scalar()\n"
    )

    first, second, third, _ = last(run(folder, "plan"))["plan"]

    assert second["sql"] is None
    assert "r2.py:12" in second["note"]
    assert "CREATE TABLE items" in first["sql"]
    assert "half" not in third["sql"]
    assert "items_name" in third["sql"]


@pytest.mark.parametrize("style", ["async", "engine_begin", "transactional", "multidb"])
def test_plan_works_with_env_files_that_do_not_know_offline_mode(style, project, run, database, make_database):
    second = make_database()

    result = run(
        project(style), "plan", SECOND_DATABASE_URL=second.url(), **({"driver": "asyncpg"} if style == "async" else {})
    )

    planned = last(result)["plan"]
    assert [step["revision"] for step in planned] == ["r1", "r2", "r3", "r4"] * (2 if style == "multidb" else 1), (
        result.output
    )
    assert all(step["sql"] for step in planned)
    assert (relations(database), relations(second)) == ([], [])


def test_an_env_file_that_writes_gets_a_plan_without_sql(project, run, database):
    report = last(run(project("tenants"), "plan"))

    assert [step["sql"] for step in report["plan"]] == [None] * 4
    assert "read-only" in report["warnings"][0]
    assert database.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'ann'") == 0


def test_check_fails_with_23_and_names_every_check(project, run):
    assert run(project("sync"), "check").code == 23
    run(project("sync"))
    assert run(project("sync"), "check").code == 0

    checks = json.dumps([{"name": "no-items", "sql": {"query": "SELECT count(*) FROM items", "expect": "0"}}])
    failed = run(project("sync"), "check", "--checks", checks)

    assert (failed.code, failed.reason) == (23, "CheckFailed")
    assert [(check.name, check.passed) for check in failed.report.checks] == [
        ("revision", True),
        ("indexes", True),
        ("no-items", False),
    ]


def test_check_finds_an_invalid_index(project, run, database):
    run(project("sync"))
    database.rows("UPDATE pg_index SET indisvalid = false WHERE indexrelid = CAST('items_name' AS regclass)")

    failed = run(project("sync"), "check")

    assert failed.code == 23
    assert "items_name" in failed.report.message


def test_unlock_says_when_there_is_nothing_to_unlock(project, run):
    result = run(project("sync"), "unlock")

    assert (result.code, result.reason) == (0, "NotLocked")


def test_unlock_ends_the_holders_of_a_run_that_does_not_move(project, start, run, database, eventually):
    process = start(project("slow"))
    eventually(lambda: database.advisory_locks() == 2)
    process.send(signal.SIGSTOP)  # alive, and doing nothing any more: the session stays

    shown = last(run(project("slow"), "status"))["status"]["holders"]
    assert [holder["lock"] for holder in shown] == ["leader", "fence"]
    refused = run(project("slow"), "unlock")
    assert (refused.code, refused.reason) == (22, "Refused")
    assert database.advisory_locks() == 2

    ended = run(project("slow"), "unlock", "--yes")

    assert (ended.code, ended.reason) == (0, "Unlocked"), ended.output
    assert last(ended)["ended"] == sorted(holder["pid"] for holder in shown)
    assert last(ended)["holders"][0]["application_name"].startswith("lockgate")
    assert database.advisory_locks() == 0


def test_unlock_tells_when_a_run_that_is_alive_takes_the_lock_again(project, start, run, database, eventually):
    start(project("slow"))
    eventually(lambda: database.advisory_locks() == 2)

    result = run(project("slow"), "unlock", "--yes")

    assert (result.code, result.reason) == (10, "LockBusy"), result.output
    assert "taken again" in result.report.message


@pytest.mark.parametrize(("answer", "reason", "held"), [("n\n", "LeftAlone", 1), ("y\n", "Unlocked", 0)])
def test_unlock_asks_on_a_terminal(answer, reason, held, project, database):
    from lockgate.runner.lock import leader_key  # noqa: PLC0415  # needs what only this test does

    with database.connect(autocommit=True) as holder:
        holder.execute(f"SELECT pg_advisory_lock({leader_key('', 'alembic_version')})")
        ours, theirs = pty.openpty()
        os.write(ours, answer.encode())
        ended = subprocess.run(
            [os.sys.executable, "-P", "-c", "from lockgate.runner.command_line import main; main()", "unlock"],
            cwd=project("sync"),
            env={**os.environ, "DATABASE_URL": database.url()},
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
        )
        for descriptor in (ours, theirs):
            os.close(descriptor)

        assert ended.returncode == 0, ended.stdout
        assert f"lockgate: {reason}: " in ended.stdout
        assert "[y/N]" in ended.stderr
        assert database.advisory_locks() == held
