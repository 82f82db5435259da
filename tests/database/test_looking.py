"""Commands that look, and `unlock`: they tell what is there, and end nothing but the session that was shown."""

from __future__ import annotations

import json
import os
import pty
import signal
import threading

import pytest

from lockgate.runner.command_line import execute
from lockgate.runner.database.backends.postgresql_holders import end_session, find_holders
from lockgate.runner.database.connection import Database, parse_url
from lockgate.runner.database.lock import leader_key
from lockgate.runner.database.session_settings import Settings

# The projects run in this process, and what they are warned of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def run(database, monkeypatch, capsys):
    """Run `lockgate` in this process, which is much quicker; return the code, what it said, and its last line."""
    monkeypatch.setattr("lockgate.runner.interruption.Interruption.listen", lambda *_, **__: None)
    monkeypatch.setattr("sys.stdin", None)
    for name in [name for name in os.environ if name.startswith("LOCKGATE_")]:
        monkeypatch.delenv(name)

    def run_one(folder, command, *arguments, driver="psycopg", output="json"):
        monkeypatch.chdir(folder)
        monkeypatch.setenv("DATABASE_URL", database.url(driver))
        code = execute([command, "--output", output, *arguments])
        said = capsys.readouterr().out
        return code, said, json.loads(said.splitlines()[-1]) if output == "json" else {}

    return run_one


def relations(database):
    return database.rows(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname !~ '^pg_|information_schema' ORDER BY 1, 2"
    )


def test_status_tells_rows_target_and_what_is_pending_and_makes_nothing(project, run, database):
    before = run(project("sync"), "status")[2]
    assert (before["reason"], before["status"]["current"], before["status"]["pending"]) == ("RevisionsPending", [], 4)
    assert before["status"]["version_table"] is None
    assert relations(database) == []

    run(project("sync"), "migrate", "--target", "r2")
    after = run(project("sync"), "status")[2]["status"]
    assert (after["current"], after["target"], after["pending"]) == (["r2"], ["r4"], 2)
    assert (after["version_table"], after["holders"]) == ("public.alembic_version", [])

    code, said, _ = run(project("sync"), "status", output="plain")
    assert code == 0
    assert "  pending        2\n" in said
    assert said.endswith("  lock           free\n")


def test_status_and_check_know_a_database_that_is_ahead(project, run):
    run(project("newer"), "migrate")

    status = run(project("older"), "status")[2]
    assert (status["reason"], status["status"]["ahead"]) == ("DatabaseAhead", True)
    assert run(project("older"), "check")[0] == 0
    assert run(project("older"), "check", "--database-ahead", "Block")[0] == 23


def test_history_is_the_newest_first_and_needs_nothing_of_the_image(project, run, tmp_path):
    assert run(tmp_path, "history")[2]["reason"] == "NoHistory"
    run(project("sync"), "migrate", "--image", "shop:1")

    shown = run(tmp_path, "history", "--limit", "2")[2]["history"]

    assert [(row["revision"], row["message"], row["image"]) for row in shown] == [
        ("r4", "fill items", "shop:1"),
        ("r3", "index items by name", "shop:1"),
    ]
    assert "r1 add items" in run(tmp_path, "history", output="plain")[1]


def test_plan_renders_the_sql_of_what_is_pending_and_changes_nothing(project, run, database):
    run(project("sync"), "migrate", "--target", "r1")
    database.rows("DROP SCHEMA lockgate CASCADE")
    before = relations(database)

    _, said, report = run(project("sync"), "plan")

    planned = report["plan"]
    assert [step["revision"] for step in planned] == ["r2", "r3", "r4"], said
    assert "CREATE TABLE notes" in planned[0]["sql"]
    assert "CREATE INDEX CONCURRENTLY items_name" in planned[1]["sql"]
    assert "INSERT INTO items" in planned[2]["sql"]
    assert (relations(database), database.value("SELECT version_num FROM alembic_version")) == (before, "r1")
    said = run(project("sync"), "plan", "--transactions", "AsEnvironment", output="plain")[1]
    assert "-- 1/3 r2 add notes" in said
    assert "-- transactions: AsEnvironment" in said
    assert report["committed"].startswith("PerRevision")


OWN_WORK = {
    "psycopg": (
        "import psycopg\n"
        "with psycopg.connect({libpq!r}) as own:\n"
        "    own.execute('SET default_transaction_read_only = off')\n"
        "    own.execute('CREATE TABLE own (id int)')"
    ),
    "psycopg2": (
        "import psycopg2\n"
        "own = psycopg2.connect({libpq!r})\n"
        "own.cursor().execute('CREATE TABLE own (id int)')\n"
        "own.commit()"
    ),
    "asyncpg": (
        "import asyncio, asyncpg\n"
        "async def work():\n"
        "    own = await asyncpg.connect({libpq!r})\n"
        "    await own.execute('CREATE TABLE own (id int)')\n"
        "asyncio.run(work())"
    ),
    "an engine": (
        "with sa.create_engine(os.environ['DATABASE_URL'], isolation_level='AUTOCOMMIT').connect() as own:\n"
        "    own.execute(sa.text('SET default_transaction_read_only = off'))\n"
        "    own.execute(sa.text('CREATE TABLE own (id int)'))"
    ),
    "psql": "import subprocess\nsubprocess.run(['psql', '-c', 'CREATE TABLE own (id int)', {libpq!r}], check=True)",
    "an error that it catches": (
        "import contextlib, psycopg\n"
        "with contextlib.suppress(Exception):\n"
        "    psycopg.connect({libpq!r}, autocommit=True).execute('CREATE TABLE own (id int)')\n"
        "op.execute('SELECT 1')"
    ),
}


def test_plan_does_nothing_that_a_revision_does_by_itself(written, run, database):
    libpq = database.url().replace("+psycopg", "")
    works = [work.format(libpq=libpq) for work in OWN_WORK.values()]
    folder = written(*works, "op.execute('CREATE TABLE afterwards (id int)')")

    *own, last = run(folder, "plan")[2]["plan"]

    assert relations(database) == []
    assert [step["sql"] for step in own] == [None] * len(OWN_WORK)
    for step, kind in zip(own, OWN_WORK, strict=True):
        what = "it starts a program" if kind == "psql" else "it works over a connection of its own"
        assert step["note"].startswith(f"its SQL cannot be shown: {what}"), step
    assert "CREATE TABLE afterwards" in last["sql"]
    assert run(folder, "migrate", "--target", "n1")[2]["reason"] == "Migrated"
    assert ("public", "own") in relations(database)


def test_plan_lets_env_py_write_nothing_through_a_driver(written, run, database):
    libpq = database.url().replace("+psycopg", "")
    folder = written("op.execute('CREATE TABLE z ()')")
    env = folder / "migrations" / "env.py"
    begins = "".join(
        f"import {driver}\ntry:\n    {driver}.connect({libpq!r}).cursor().execute('CREATE TABLE x ()')\n"
        f"except {driver}.Error as error:\n    print('{driver}:', error)\n"
        for driver in ("psycopg", "psycopg2")
    )
    env.write_text(begins + env.read_text())

    said, report = run(folder, "plan")[1:]

    for driver in ("psycopg", "psycopg2"):
        assert f"{driver}: cannot execute CREATE TABLE in a read-only transaction" in said
    assert "CREATE TABLE z" in report["plan"][0]["sql"]
    assert (relations(database), os.environ.get("PGOPTIONS")) == ([], None)


def test_a_baseline_is_learnt_without_doing_what_a_revision_does_by_itself(written, run, database):
    libpq = database.url().replace("+psycopg", "")
    folder = written(OWN_WORK["an error that it catches"].format(libpq=libpq))

    report = run(folder, "baseline", "n1")[2]

    assert (report["exit_code"], report["reason"]) == (21, "InvalidConfiguration"), report
    assert "n1 (it works over a connection of its own)" in report["message"]
    assert ("public", "own") not in relations(database)


def test_plan_says_which_revision_cannot_be_rendered_and_why(project, run):
    folder = project("sync")
    (folder.parent / "revisions" / "r2.py").write_text(
        '"""read notes"""\n\nfrom alembic import op\nfrom sqlalchemy import text\n\n'
        'revision = "r2"\ndown_revision = "r1"\n'
        "\n\ndef upgrade():\n    op.execute('CREATE TABLE half (id integer)')\n"
        "    op.get_bind().execute(text('SELECT 1')).scalar()\n"
    )

    first, second, third, _ = run(folder, "plan")[2]["plan"]

    assert second["sql"] is None
    assert "r2.py:12" in second["note"]
    assert "CREATE TABLE items" in first["sql"]
    assert "half" not in third["sql"]
    assert "items_name" in third["sql"]


@pytest.mark.parametrize(
    ("style", "driver", "expected"),
    [
        ("async", "asyncpg", ["r1", "r2", "r3", "r4"]),
        ("engine_begin", "psycopg", ["t1", "t2", "t3"]),
        ("worker_thread", "psycopg", ["r1", "r2", "r3", "r4"]),
        ("multidb", "psycopg", ["t1", "t2", "t3"] * 2),
    ],
)
def test_plan_works_with_env_files_that_do_not_know_offline_mode(
    style, driver, expected, project, run, database, make_database, monkeypatch
):
    second = make_database()
    monkeypatch.setenv("SECOND_DATABASE_URL", second.url())

    _, said, report = run(project(style), "plan", driver=driver)

    assert [step["revision"] for step in report["plan"]] == expected, said
    assert all(step["sql"] for step in report["plan"]), said
    assert (relations(database), relations(second)) == ([], [])


def test_an_env_file_that_writes_gets_a_plan_without_sql(project, run, database):
    report = run(project("tenants"), "plan")[2]

    assert [step["sql"] for step in report["plan"]] == [None] * 3
    assert "read-only" in report["warnings"][0]
    assert database.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'ann'") == 0


def test_check_fails_with_23_and_names_every_check(project, run, database):
    assert run(project("sync"), "check")[0] == 23
    run(project("sync"), "migrate")
    assert run(project("sync"), "check")[0] == 0

    database.rows("UPDATE pg_index SET indisvalid = false WHERE indexrelid = CAST('items_name' AS regclass)")
    checks = json.dumps([{"name": "no-items", "sql": {"query": "SELECT count(*) FROM items", "expect": "0"}}])
    code, _, failed = run(project("sync"), "check", "--checks", checks)

    assert (code, failed["reason"]) == (23, "CheckFailed")
    assert [(check["name"], check["passed"]) for check in failed["checks"]] == [
        ("revision", True),
        ("indexes", False),
        ("no-items", False),
    ]

    wanted = json.dumps([{"exists": {"tables": ["items", "nothing"]}}, {"drift": {}}, {"indexes": {"ignore": ["*"]}}])
    code, _, failed = run(project("sync"), "check", "--checks", wanted)

    assert code == 23
    assert [check["name"] for check in failed["checks"] if not check["passed"]] == ["exists-1", "drift"]
    assert "nothing" in failed["message"]
    assert "target_metadata" in failed["message"]


def test_unlock_ends_the_holders_of_a_run_that_does_not_move(project, start, run, database, eventually):
    process = start(project("slow"), SLOW_SECONDS="60")
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'"
    eventually(lambda: database.value(asleep) == 1)
    process.send(signal.SIGSTOP)  # its sessions stay

    shown = run(project("slow"), "status")[2]["status"]["holders"]
    assert [holder["lock"] for holder in shown] == ["leader", "fence"]
    assert "query" not in shown[0]

    code, said, ended = run(project("slow"), "unlock", "--yes")

    assert (code, ended["reason"]) == (0, "Unlocked"), said
    assert ended["ended"] == sorted(holder["pid"] for holder in shown)
    assert "pg_sleep" in ended["holders"][1]["query"]
    assert database.advisory_locks() == 0
    code, _, nothing = run(project("slow"), "unlock")
    assert (code, nothing["reason"]) == (0, "NotLocked")


LEADER = leader_key("", "alembic_version")


def test_unlock_tells_when_the_lock_is_taken_again(project, run, database):
    with database.connect(autocommit=True) as first, database.connect(autocommit=True) as second:
        first.execute(f"SELECT pg_advisory_lock({LEADER})")
        waiting = threading.Thread(target=second.execute, args=(f"SELECT pg_advisory_lock({LEADER})",), daemon=True)
        waiting.start()

        code, said, report = run(project("sync"), "unlock", "--yes")
        waiting.join()

        assert (code, report["reason"]) == (10, "LockBusy"), said
        assert "taken again" in report["message"]
        assert str(second.info.backend_pid) in report["message"]


@pytest.mark.parametrize(
    ("answer", "code", "reason", "held"),
    [("n\n", 0, "LeftAlone", 1), ("y\n", 0, "Unlocked", 0), (None, 22, "Refused", 1)],
)
def test_unlock_asks_on_a_terminal_and_refuses_without_one(
    answer, code, reason, held, project, run, database, monkeypatch
):
    ours, theirs = pty.openpty()
    os.write(ours, (answer or "y\n").encode())
    reading = theirs if answer else os.open(os.devnull, os.O_RDONLY)
    with os.fdopen(reading) as stdin, database.connect(autocommit=True) as holder:
        holder.execute(f"SELECT pg_advisory_lock({LEADER})")
        monkeypatch.setattr("sys.stdin", stdin)

        ended = run(project("sync"), "unlock")

        assert (ended[0], ended[2]["reason"]) == (code, reason), ended[1]
        assert database.advisory_locks() == held


def test_unlock_leaves_a_session_alone_that_is_no_longer_the_one_that_was_shown(database):
    connection = Database(parse_url(database.url()), Settings()).connect("test")
    with database.connect(autocommit=True) as holder:
        holder.execute(f"SELECT pg_advisory_lock({LEADER})")
        (shown,) = find_holders(connection, leader=("", "alembic_version"), fence=("public", "alembic_version"))

        holder.execute("SET application_name = 'somebody else'")
        assert not end_session(connection, shown)
        assert not end_session(connection, shown._replace(application_name="somebody else", since="2020-01-01"))
        holder.execute("RESET application_name")
        holder.execute(f"SELECT pg_advisory_unlock({LEADER})")
        assert not end_session(connection, shown)

        assert holder.execute("SELECT 1").fetchone() == (1,)
    connection.close()


def test_unlock_by_a_role_that_may_not_see_the_session_ends_nothing(project, run, database, monkeypatch):
    name = f"nobody_{os.getpid()}"
    database.rows(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    try:
        with database.connect(autocommit=True) as holder:
            holder.execute(f"SELECT pg_advisory_lock({LEADER})")
            there = database.url().partition("@")[2]
            monkeypatch.setattr(database, "url", lambda driver="psycopg": f"postgresql+{driver}://{name}:x@{there}")

            code, _, report = run(project("sync"), "unlock", "--yes")

            assert (code, report["reason"]) == (22, "Refused")
            assert holder.execute("SELECT 1").fetchone() == (1,)
    finally:
        monkeypatch.undo()
        database.rows(f"DROP ROLE {name}")


def test_a_plan_does_not_log_that_it_runs_anything(project, run, caplog):
    caplog.set_level("INFO", "alembic.runtime.migration")

    assert run(project("sync"), "plan")[2]["pending"] == 4
    assert "Running upgrade" not in caplog.text

    run(project("sync"), "migrate")
    assert "Running upgrade" in caplog.text


def test_a_role_that_may_not_read_the_version_table_is_told_so_and_not_that_its_login_is_wrong(
    project, run, database, monkeypatch
):
    name = f"stranger_{os.getpid()}"
    database.rows("CREATE TABLE alembic_version (version_num text)")
    database.rows(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    try:
        there = database.url().partition("@")[2]
        monkeypatch.setattr(database, "url", lambda driver="psycopg": f"postgresql+{driver}://{name}:x@{there}")

        for command in (("migrate",), ("wait", "--timeout", "0s")):
            code, _, report = run(project("sync"), *command)

            assert (code, report["reason"]) == (20, "MigrationFailed")
            assert "The database role lacks a right: permission denied for table alembic_version." in report["message"]
    finally:
        monkeypatch.undo()
        database.rows(f"DROP ROLE {name}")
