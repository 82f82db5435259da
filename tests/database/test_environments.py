"""Every style of env.py that Alembic's users have, as it is: nothing in it knows of Lockgate."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lockgate.runner.database.lock import fence_key

OLDEST = (
    *("alembic==1.8.1", "sqlalchemy==1.4.54", "psycopg2-binary>=2.9.10", "asyncpg>=0.30", "greenlet>=3.2"),
    "anyio>=4",
)
"""The oldest pair that is supported, its drivers, and what one env.py imports."""

SYNC, ASYNC = ("psycopg2", "psycopg"), ("asyncpg", "psycopg")
R, T = ("r1", "r2", "r3", "r4"), ("t1", "t2", "t3")


@dataclass(frozen=True)
class Style:
    """A miniature project, and what comes of it."""

    name: str
    drivers: tuple[str, ...] = SYNC
    applied: tuple[str, ...] = R
    """In any order: Alembic chooses one that the graph allows."""
    reached: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


STYLES = (
    Style("sync"),
    Style("configured"),
    Style("pooled"),
    Style("injected"),
    Style("own_timeouts"),
    Style("version_table"),
    Style("engine_begin", applied=T),
    Style("search_path", applied=T),
    Style("arguments", applied=T, arguments=("--args", '{"tenant": "ann"}')),
    Style("pyproject"),
    Style("application", applied=("a1", "a2")),
    Style("several_heads", applied=("h0", "h1", "h2"), reached=("h1", "h2")),
    Style("depends_on", applied=("d1", "d2"), reached=("d2",)),
    Style("labels", applied=("e1", "c1", "e2", "c2"), reached=("c2",), arguments=("--target", "contract@head")),
    Style("labels", applied=("e1", "e2"), arguments=("--target", "expand@head")),
    Style("async", ASYNC),
    Style("pooled_async", ASYNC),
    Style("worker_thread", ASYNC),
)


def _matrix() -> Iterator[tuple[Style, str, str, str]]:
    """Yield each style with each driver, on each PostgreSQL, and with the oldest libraries."""
    for style in STYLES:
        for driver in style.drivers:
            yield style, driver, "newest", "system"
        yield style, style.drivers[0], "newest", "embedded"
        if style.name != "pyproject":  # Alembic reads it since 1.16
            yield style, style.drivers[0], "oldest", "system"


@pytest.fixture
def python(libraries, environment):
    """Return the Python of an image with these libraries."""
    return str(environment(*OLDEST)) if libraries == "oldest" else ""


@pytest.mark.parametrize(("style", "driver", "libraries", "postgres_kind"), list(_matrix()), ids=str)
def test_an_env_file_is_migrated_as_it_is(style, driver, libraries, python, project, run, database):
    result = run(project(style.name), "migrate", *style.arguments, driver=driver, python=python)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    applied = [step.revision for step in result.report.applied]
    assert sorted(applied) == sorted(result.report.revisions) == sorted(style.applied)
    assert result.report.reached == (style.reached or style.applied[-1:])
    assert [row[0] for row in database.rows("SELECT revision FROM lockgate.history ORDER BY id")] == applied
    assert database.advisory_locks() == 0

    again = run(project(style.name), "migrate", *style.arguments, driver=driver, python=python)
    assert (again.code, again.reason) == (0, "NothingToDo"), again.output


def test_alembics_table_in_pyproject_toml_needs_an_alembic_that_reads_it(environment, project, run):
    result = run(project("pyproject"), driver="psycopg2", python=str(environment(*OLDEST)))

    assert result.code == 21, result.output
    assert "Alembic 1.16" in result.report.message


def test_what_is_said_to_env_py_decides_which_tenant_is_migrated(project, run, database):
    for tenant in ("ann", "bob"):
        result = run(project("arguments"), "migrate", "--args", f'{{"tenant": "{tenant}"}}')

        assert (result.code, result.reason) == (0, "Migrated"), result.output
        assert database.rows(f"SELECT version_num FROM {tenant}.alembic_version") == [("t3",)]


@pytest.mark.parametrize(
    ("style", "driver", "kept"),
    [("pooled_async", "asyncpg", "PerRevision"), ("engine_begin", "psycopg", "AsEnvironment")],
)
def test_each_revision_is_committed_by_itself_unless_env_py_has_a_transaction(
    style, driver, kept, project, run, database
):
    result = run(project(style), driver=driver)

    transactions = database.value("SELECT count(DISTINCT xmin::text) FROM lockgate.history")
    revisions = database.value("SELECT count(*) FROM lockgate.history")
    assert (transactions, result.report.transactions) == (revisions if kept == "PerRevision" else 1, kept)


@pytest.mark.parametrize(
    ("driver", "libraries"), [("psycopg", "newest"), ("psycopg2", "newest"), ("psycopg2", "oldest")]
)
def test_several_tenants_in_one_run_are_all_migrated_and_verified(driver, libraries, python, project, run, database):
    result = run(project("tenants"), driver=driver, python=python)

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    assert [step.revision for step in result.report.applied] == ["t1", "t2", "t3"] * 2
    for tenant in ("ann", "bob"):
        assert database.rows(f"SELECT version_num FROM {tenant}.alembic_version") == [("t3",)]


@pytest.mark.parametrize(
    ("driver", "libraries"), [("psycopg", "newest"), ("psycopg2", "newest"), ("psycopg2", "oldest")]
)
def test_two_databases_in_one_run_are_both_migrated_and_verified(
    driver, libraries, python, project, run, database, make_database
):
    second = make_database()

    result = run(project("multidb"), driver=driver, python=python, SECOND_DATABASE_URL=second.url(driver))

    assert (result.code, result.reason) == (0, "Migrated"), result.output
    for each in (database, second):
        assert each.rows("SELECT version_num FROM alembic_version") == [("t3",)]


def test_the_fast_path_is_not_taken_where_several_version_tables_are_involved(project, run):
    run(project("tenants"))

    result = run(project("tenants"))

    assert (result.code, result.reason) == (0, "NothingToDo"), result.output
    assert any(event["event"] == "verifying" for event in result.progress)


def test_an_env_file_that_never_commits_is_an_error_and_not_an_endless_loop(project, run, database):
    result = run(project("never_commits"))

    assert (result.code, result.reason) == (20, "NoProgress"), result.output
    assert "3 revisions are still pending" in result.report.message
    assert database.value("SELECT to_regclass('items')") is None


def test_an_env_file_that_runs_nothing_is_an_error(project, run):
    result = run(project("never_migrates"))

    assert (result.code, result.reason) == (20, "NoProgress"), result.output
    assert "context.run_migrations()" in result.report.message


def test_an_autocommit_block_inside_a_transaction_of_env_py_says_what_to_change(project, run):
    result = run(project("engine_begin_autocommit"))

    assert (result.code, result.reason) == (20, "MigrationFailed"), result.output
    assert "autocommit_block() needs env.py not to begin a transaction" in result.report.message
    assert result.report.reached == ()


@pytest.mark.parametrize("style", ["failing", "swallows_errors"])
def test_a_failed_revision_is_rolled_back_and_reported_also_where_env_py_swallows_the_error(
    style, project, run, database
):
    result = run(project(style))

    report = result.report
    assert (result.code, result.reason, report.retryable) == (20, "MigrationFailed", False), result.output
    assert (report.reached, report.pending) == (("f1",), 1)
    assert report.failure is not None
    assert (report.failure.revision, report.failure.sqlstate) == ("f2", "23505")
    assert report.failure.statement == "CREATE UNIQUE INDEX items_email ON items (email)"
    assert "ann@example.com" not in result.output
    assert "Traceback" not in report.message + report.failure.error
    assert "half" not in {row[0] for row in database.rows(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'items'"
    )}  # fmt: skip


def test_an_error_in_a_revision_names_file_and_line(project, run):
    result = run(project("broken_python"))

    assert result.code == 20
    assert "ZeroDivisionError" in result.report.failure.error
    assert "b1.py:" in result.report.failure.error


def test_several_heads_are_all_reached_and_head_is_refused(project, run):
    refused = run(project("several_heads"), "migrate", "--target", "head")
    assert (refused.code, refused.reason) == (21, "InvalidRevisions"), refused.output
    assert "h1, h2" in refused.report.message
    assert "`heads`" in refused.report.message

    result = run(project("several_heads"))
    assert (result.code, result.report.reached) == (0, ("h1", "h2"))


def test_an_unknown_target_names_the_heads(project, run):
    result = run(project("sync"), "migrate", "--target", "nowhere")

    assert (result.code, result.reason) == (21, "InvalidRevisions"), result.output
    assert "r4" in result.report.message


def test_a_head_that_another_one_depends_on_counts_as_reached(project, run, database):
    first = run(project("depends_on"))
    assert (first.code, first.report.pending) == (0, 0), first.output

    again = run(project("depends_on"), "migrate", "--args", '{"not": "the fast path"}')

    assert database.rows("SELECT version_num FROM alembic_version") == [("d2",)]
    assert (again.code, again.reason, again.report.revisions) == (0, "NothingToDo", ("d1", "d2")), again.output


def test_the_stricter_lock_timeout_counts(project, run, database):
    folder = project("own_timeouts")
    (folder / "../revisions/r5.py").write_text(
        "from alembic import op\nrevision = 'r5'\ndown_revision = 'r4'\n\n\ndef upgrade():\n"
        "    op.execute(\"CREATE TABLE seen AS SELECT current_setting('lock_timeout') AS t,"
        " current_setting('statement_timeout') AS s\")\n"
    )

    result = run(folder, ENV_LOCK_TIMEOUT="70")

    assert result.code == 0, result.output
    assert database.rows("SELECT t, s FROM seen") == [("70ms", "30s")]


def test_an_error_that_a_revision_catches_in_a_savepoint_is_none(project, run, database):
    folder = project("engine_begin")
    (folder / "../transactional/t2.py").write_text(
        "from alembic import op\nfrom sqlalchemy.exc import DBAPIError\nrevision = 't2'\ndown_revision = 't1'\n\n\n"
        "def upgrade():\n    try:\n        with op.get_bind().begin_nested():\n"
        "            op.execute('SELECT 1 / 0')\n    except DBAPIError:\n        op.execute('CREATE TABLE caught ()')\n"
    )

    result = run(folder)

    assert (result.code, result.report.reached) == (0, ("t3",)), result.output
    assert database.value("SELECT to_regclass('caught')") == "caught"


@pytest.mark.parametrize(("status", "code"), [("0", 0), ("3", 20)])
def test_an_env_file_that_ends_by_sys_exit_is_believed_only_where_it_says_success(status, code, project, run):
    folder = project("sync")
    with (folder / "migrations" / "env.py").open("a") as env:
        env.write(f"\nraise SystemExit({status})\n")

    result = run(folder)

    assert (result.code, result.report.reached) == (code, ("r4",)), result.output


def test_what_an_application_registers_for_its_end_is_called_and_the_exit_code_stays(project, run):
    folder = project("sync")
    with (folder / "migrations" / "env.py").open("a") as env:
        env.write("\nimport atexit\natexit.register(print, 'the application ends')\nraise SystemExit(3)\n")

    result = run(folder)

    assert result.code == 20, result.output
    assert "the application ends" in result.output


def test_the_garbage_collector_works_as_always_while_revisions_run(project, run):
    folder = project("sync")
    env = folder / "migrations" / "env.py"
    env.write_text(env.read_text() + "\nimport gc\nprint('thresholds', gc.get_threshold())\n")
    plain = subprocess.run(
        [sys.executable, "-c", "import gc; print('thresholds', gc.get_threshold())"],
        capture_output=True,
        text=True,
        check=True,
    )

    result = run(folder)

    assert result.code == 0, result.output
    assert plain.stdout.strip() in result.output


def test_a_tenant_that_lockgate_refuses_is_no_success_where_env_py_goes_on(project, run, database):
    folder = project("tenants")
    env = folder / "migrations" / "env.py"
    head, loop = env.read_text().split("for tenant", 1)
    line, body = loop.split("\n", 1)
    body = "\n".join(f"    {text}" for text in body.splitlines())
    env.write_text(f"{head}for tenant{line}\n    try:\n{body}\n    except Exception:\n        print('never mind')\n")
    with database.connect(autocommit=True) as other:
        other.execute(f"SELECT pg_advisory_lock({fence_key('bob', 'alembic_version')})")

        result = run(folder, "migrate", "--lock-wait", "1s")

    assert (result.code, result.reason) == (10, "LockBusy"), result.output
    assert database.value("SELECT to_regclass('bob.alembic_version')") is None


@pytest.mark.parametrize("place", ["env.py", "revision"])
def test_another_role_costs_the_history_with_a_warning_and_not_the_migration(place, project, run, database):
    role = f"owner_of_{database.name}"
    database.rows(f"CREATE ROLE {role}")
    try:
        database.rows(f"GRANT ALL ON SCHEMA public TO {role}")
        folder = project("sync")
        if place == "env.py":
            file, before = folder / "migrations" / "env.py", "    context.configure"
            more = f"    connection.exec_driver_sql('SET ROLE {role}')\n    connection.commit()\n"
        else:
            file, before = folder.parent / "revisions" / "r2.py", "    op."
            more = f"    op.execute('ALTER TABLE alembic_version OWNER TO {role}')\n"
            more += f"    op.execute('ALTER TABLE items OWNER TO {role}')\n    op.execute('SET ROLE {role}')\n"
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, more + before, 1))

        result = run(folder)

        assert (result.code, result.reason) == (0, "Migrated"), result.output
        assert "lockgate.history" in result.report.warnings[0]
    finally:
        database.rows(f"DROP OWNED BY {role} CASCADE")
        database.rows(f"DROP ROLE {role}")


def test_an_asynchronous_driver_for_a_synchronous_env_py_is_told_with_the_way_out(project, run):
    result = run(project("sync"), driver="asyncpg")

    assert (result.code, result.reason) == (20, "MigrationFailed"), result.output
    assert "The URL names an asynchronous driver" in result.report.message
