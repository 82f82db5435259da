"""Taking revisions back: what is said before, what is done, and what is refused."""

from __future__ import annotations

import json
import signal

import pytest

NEW = ("b1", "b2", "m3", "n4", "m4", "m5", "x1", "m6")
BACK = ["m6", "x1", "m5", "m4", "n4", "m3"]
ALLOW = ("--downgrade", "Allow")


@pytest.fixture
def returning(project, run):
    """Make a database to which an image with all revisions was applied."""
    folder = project("returning")
    result = run(folder)
    assert result.code == 0, result.output
    return folder


@pytest.fixture
def older(run, returning):
    """Run `lockgate` of an image that contains only the first two of the revisions."""

    def run_one(*arguments: str, **more: str):
        return run(returning, *arguments, LOCKGATE_CONFIG="older.ini", **more)

    return run_one


def plan_of(result) -> list[dict[str, str]]:
    return json.loads(result.output.splitlines()[-1])["plan"]


def rows_of(database) -> list[str]:
    return sorted(row[0] for row in database.rows("SELECT version_num FROM alembic_version"))


def tables_of(database) -> set[str]:
    return {row[0] for row in database.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def rewrite(folder, revision: str, before: str, after: str) -> None:
    file = next(folder.glob(f"*/{revision}.py"))
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after))


@pytest.mark.parametrize(("driver", "style"), [("psycopg", "sync"), ("psycopg2", "sync"), ("asyncpg", "async")])
def test_an_older_image_takes_back_what_only_the_history_still_has(driver, style, project, run, database):
    folder = project("returning")
    (folder / "migrations" / "env.py").write_text((project(style) / "migrations" / "env.py").read_text())
    assert run(folder, driver=driver).code == 0

    result = run(folder, "downgrade", "b2", *ALLOW, driver=driver, LOCKGATE_CONFIG="older.ini")

    assert (result.code, result.reason) == (0, "Downgraded"), result.output
    assert [step.revision for step in result.report.undone] == BACK
    assert (result.report.current, result.report.reached) == (("m6", "x1"), ("b2",))
    assert result.report.revisions == ("b1", "b2")
    assert {step["source"] for step in plan_of(result)} == {"lockgate.history"}
    assert rows_of(database) == ["b2"]
    assert tables_of(database) == {"alembic_version", "orders", "customers"}
    assert database.value("SELECT to_regclass('orders_note') IS NULL")
    assert database.advisory_locks() == 0


def test_what_was_taken_back_is_applied_again_and_the_history_shows_both(returning, run, older, database):
    assert older("downgrade", "b2", *ALLOW).code == 0

    assert older().reason == "NothingToDo"
    again = run(returning)

    assert [step.revision for step in again.report.applied] == list(NEW[2:]), again.output
    found = database.rows("SELECT revision, direction FROM lockgate.history ORDER BY id")
    assert [revision for revision, direction in found if direction == "downgrade"] == BACK
    assert [revision for revision, direction in found if direction == "upgrade"] == [*NEW, *NEW[2:]]


def test_the_plan_is_said_and_nothing_done_as_long_as_it_is_not_allowed(older, run, returning, database):
    run(returning)
    result = older("downgrade", "b2")

    assert (result.code, result.reason) == (22, "DowngradeDenied"), result.output
    assert [step["revision"] for step in plan_of(result)] == BACK
    assert "--downgrade Allow" in result.report.message
    assert rows_of(database) == ["m6", "x1"]
    assert run(returning).progress == []  # the fast path: nothing has changed

    plain = older("downgrade", "b2", LOCKGATE_OUTPUT="plain")
    assert "  1/6 m6 fill totals (from lockgate.history)" in plain.output


@pytest.mark.parametrize(
    ("destination", "taken", "left"),
    [
        ("audit@base", ["x1"], ["m6"]),
        ("m3", ["m6", "x1", "m5", "m4", "n4"], ["m3"]),
        ("m5", ["m6"], ["x1"]),
        ("base", [*BACK, "b2", "b1"], []),
        ("m6", [], ["m6", "x1"]),
    ],
)
def test_destinations_mean_what_they_mean_to_alembic(destination, taken, left, older, database):
    result = older("downgrade", destination, *ALLOW)

    assert result.code == 0, result.output
    assert [step.revision for step in result.report.undone] == taken
    assert result.reason == ("Downgraded" if taken else "NothingToDo")
    assert rows_of(database) == left


@pytest.mark.parametrize("destination", ["-1", "heads", "b1:b2", "", "nowhere"])
def test_what_is_no_place_to_go_back_to_is_refused(destination, older, database):
    result = older("downgrade", destination, *ALLOW)

    assert result.code == 21, result.output
    assert rows_of(database) == ["m6", "x1"]


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ("def back() -> None:", "it has no function downgrade"),
        ('irreversible = "totals are lost"\n\n\ndef downgrade() -> None:', "irreversible: totals are lost"),
        ('def downgrade() -> None:\n    raise NotImplementedError("no way")', "raises NotImplementedError('no way')"),
    ],
)
def test_what_cannot_be_taken_back_is_said_and_nothing_is_done(after, said, project, run, database):
    folder = project("returning")
    rewrite(folder, "m3", "def downgrade() -> None:", after)
    assert run(folder).code == 0

    result = run(folder, "downgrade", "b2", *ALLOW, LOCKGATE_CONFIG="older.ini")

    assert (result.code, result.reason) == (22, "Irreversible"), result.output
    assert "m3: " in result.report.message
    assert said in result.report.message
    assert [step["obstacle"] != "" for step in plan_of(result)] == [False] * 5 + [True]
    assert rows_of(database) == ["m6", "x1"]


def test_a_downgrade_that_does_nothing_is_named_and_one_of_a_revision_that_does_nothing_is_not(project, run):
    folder = project("returning")
    rewrite(folder, "m6", 'op.execute("UPDATE orders SET total = NULL")', "pass")
    run(folder)

    result = run(folder, "downgrade", "b2")

    notes = {step["revision"]: step["note"] for step in plan_of(result)}
    assert "nothing is undone" in notes.pop("m6")
    assert set(notes.values()) == {""}


@pytest.mark.parametrize(
    ("tampering", "said"),
    [
        ("SET source = source || '# more'", "is not the one that was applied"),
        ("SET source = NULL", "has no source of it"),
        ("SET parents = '[\"b1\"]'", "names other parents"),
    ],
)
def test_a_stored_source_that_is_not_what_was_applied_is_not_run(tampering, said, older, database):
    database.rows(f"UPDATE lockgate.history {tampering} WHERE revision = 'm3'")

    result = older("downgrade", "b2", *ALLOW)

    assert (result.code, result.reason) == (22, "Irreversible"), result.output
    assert said in result.report.message
    assert rows_of(database) == ["m6", "x1"]


def test_a_revision_without_any_record_is_named(older, database):
    database.rows("DELETE FROM lockgate.history WHERE revision = 'm4'")

    result = older("downgrade", "b2", *ALLOW)

    assert (result.code, result.reason) == (22, "DatabaseAhead"), result.output
    assert "m4" in result.report.message


def test_a_revision_that_needs_what_this_image_lacks_is_refused_beforehand(project, run, tmp_path, database):
    folder = project("returning")
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "totals.py").write_text("DEFAULT = 7\n")
    rewrite(folder, "m3", "import sqlalchemy as sa", "import sqlalchemy as sa\nimport totals")
    assert run(folder, PYTHONPATH=str(tmp_path / "library")).code == 0

    result = run(folder, "downgrade", "b2", *ALLOW, LOCKGATE_CONFIG="older.ini")

    assert (result.code, result.reason) == (22, "Irreversible"), result.output
    assert "No module named 'totals'" in result.report.message
    assert rows_of(database) == ["m6", "x1"]


def test_a_downgrade_that_was_corrected_later_is_used_and_an_edited_revision_is_not(project, run, database):
    folder = project("returning")
    rewrite(folder, "n4", 'op.drop_table("tags")', 'op.drop_table("tag")')
    assert run(folder).code == 0
    rewrite(folder, "n4", 'op.drop_table("tag")', 'op.drop_table("tags")')
    for before in ('"orders", sa.Column("total"', '"orders", "total"'):
        rewrite(folder, "m3", before, before.replace("total", "amount"))

    result = run(folder, "downgrade", "b2", *ALLOW)

    assert (result.code, result.reason) == (0, "Downgraded"), result.output
    notes = {step["revision"]: (step["source"], step["note"]) for step in plan_of(result) if step["note"]}
    assert notes["n4"] == ("image", "its downgrade was edited after it was applied: the image's is used")
    assert notes["m3"] == (
        "lockgate.history",
        "its file was edited after it was applied: what was applied is used",
    )
    assert set(notes) == {"n4", "m3"}


def test_a_downgrade_that_fails_stays_at_its_revision_and_goes_on_from_there(older, run, returning, database):
    database.rows("CREATE VIEW dear AS SELECT id FROM orders WHERE total > 5")

    failed = older("downgrade", "b2", *ALLOW)

    assert (failed.code, failed.reason) == (20, "MigrationFailed"), failed.output
    assert failed.report.failure.revision == "m3"
    assert [step.revision for step in failed.report.undone] == BACK[:-1]
    assert failed.report.reached == ("m3",)
    assert rows_of(database) == ["m3"]

    database.rows("DROP VIEW dear")
    again = older("downgrade", "b2", *ALLOW)
    assert [step.revision for step in again.report.undone] == ["m3"], again.output


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 30)])
def test_one_that_is_ended_in_the_middle_is_finished_by_the_next(
    number, code, older, start, returning, database, eventually
):
    with database.connect() as other:
        other.execute("LOCK TABLE tags IN ACCESS SHARE MODE")
        process = start(
            returning,
            *("downgrade", "b2", *ALLOW, "--ddl-lock-timeout", "0s"),
            LOCKGATE_CONFIG="older.ini",
        )
        eventually(lambda: database.rows("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'relation'"))
        process.send(number)
        assert process.end().code == code
    assert eventually(lambda: database.advisory_locks() == 0)
    assert "m6" not in rows_of(database)
    assert "x1" in rows_of(database)

    result = older("downgrade", "b2", *ALLOW)

    assert (result.code, result.report.reached) == (0, ("b2",)), result.output
    assert database.value("SELECT count(*) FROM lockgate.history WHERE direction = 'downgrade'") == len(BACK)


def test_one_that_waits_for_a_lock_gives_way_and_comes_again(older, database, eventually, start, returning):
    with database.connect() as other:
        other.execute("LOCK TABLE tags IN ACCESS SHARE MODE")
        process = start(
            returning,
            *("downgrade", "b2", *ALLOW, "--ddl-lock-timeout", "100ms"),
            LOCKGATE_CONFIG="older.ini",
        )
        eventually(lambda: any('"retrying"' in line for line in process.lines))
    result = process.end()

    assert (result.code, result.report.reached) == (0, ("b2",)), result.output
    assert [step.revision for step in result.report.undone] == BACK


def test_one_that_committed_in_the_middle_is_said_to_be_half_taken_back(project, run, database):
    folder = project("returning")
    drop = 'op.execute("DROP INDEX CONCURRENTLY IF EXISTS orders_note")'
    rewrite(folder, "m4", drop, 'op.execute("CREATE TABLE kept (id int)")\n    op.execute("SELECT 1 / 0")')
    assert run(folder).code == 0

    result = run(folder, "downgrade", "m3", *ALLOW)

    assert (result.code, result.reason) == (20, "HalfApplied"), result.output
    assert "m4 is half taken back" in result.report.message
    assert result.report.failure.committed == ("CREATE TABLE kept (id int)",)

    forward = run(folder)  # what builds on it is not applied to a half of it
    assert (forward.code, forward.reason) == (20, "HalfApplied"), forward.output
    assert "m4 is half taken back" in forward.report.message


def test_one_that_is_half_taken_back_is_continued_behind_what_is_committed_where_asked(project, run, database):
    folder = project("returning")
    twice = 'with op.get_context().autocommit_block():\n        op.execute("INSERT INTO customers VALUES (1)")\n'
    rewrite(folder, "n4", 'op.drop_table("tags")', twice + '    op.execute("SELECT 1 / count(*) FROM tags")\n')
    assert run(folder).code == 0
    stopped = run(folder, "downgrade", "b2", *ALLOW, LOCKGATE_CONFIG="older.ini")
    assert (stopped.code, stopped.reason) == (20, "HalfApplied"), stopped.output
    database.rows("INSERT INTO tags VALUES (1)")

    result = run(folder, "downgrade", "b2", *ALLOW, "--half-applied", "Resume", LOCKGATE_CONFIG="older.ini")

    assert (result.code, result.reason) == (0, "Downgraded"), result.output
    assert database.value("SELECT count(*) FROM customers") == 1
    assert database.value("SELECT count(*) FROM lockgate.statements") == 0


def test_a_refused_downgrade_leaves_nothing_behind(older, database):
    assert older("downgrade", "b2").code == 22

    assert database.value("SELECT count(*) FROM lockgate.unverified") == 0
    assert database.advisory_locks() == 0


def test_the_fast_path_forgets_what_it_knew_before_revisions_are_taken_back(returning, run, older, database):
    database.rows("CREATE VIEW audited AS SELECT id FROM audit")
    rows = "SELECT count(*) FROM lockgate.satisfied"
    assert database.value(rows) == 1

    assert older("downgrade", "b2", *ALLOW).code == 20

    assert database.value(rows) == 0


def test_a_database_that_is_ahead_is_taken_back_by_migrate_where_that_is_allowed(older, run, returning, database):
    looked = older()
    assert (looked.reason, set(looked.report.ahead)) == ("DatabaseAhead", set(BACK)), looked.output

    result = older("migrate", *ALLOW)

    assert (result.code, result.reason) == (0, "Downgraded"), result.output
    assert [step.revision for step in result.report.undone] == BACK
    assert (result.report.reached, result.report.revisions) == (("b2",), ("b1", "b2"))
    assert older("migrate", *ALLOW).reason == "NothingToDo"
    assert run(returning, "migrate", *ALLOW).reason == "Migrated"


def test_migrate_takes_nothing_back_that_this_image_contains(returning, run, database):
    result = run(returning, "migrate", "--target", "m3", *ALLOW)

    assert (result.code, result.reason) == (0, "NothingToDo"), result.output
    assert rows_of(database) == ["m6", "x1"]


def test_of_several_version_tables_none_is_touched_where_one_cannot_be_taken_back(project, run, database):
    folder = project("returning")
    (folder / "migrations" / "env.py").write_text((project("tenants") / "migrations" / "env.py").read_text())
    assert run(folder).code == 0
    versions = "SELECT string_agg(version_num, ' ' ORDER BY version_num) FROM {}.alembic_version"
    tampered = (
        "UPDATE lockgate.history SET source = NULL WHERE revision = 'm3' AND version_table = 'bob.alembic_version'"
    )
    kept = database.value("SELECT source FROM lockgate.history WHERE revision = 'm3' LIMIT 1")
    database.rows(tampered)

    refused = run(folder, "downgrade", "b2", *ALLOW, LOCKGATE_CONFIG="older.ini")
    assert (refused.code, refused.reason) == (22, "Irreversible"), refused.output
    assert [database.value(versions.format(tenant)) for tenant in ("ann", "bob")] == ["m6 x1"] * 2

    with database.connect(autocommit=True) as connection:
        connection.execute("UPDATE lockgate.history SET source = %s WHERE source IS NULL", [kept])
    result = run(folder, "downgrade", "b2", *ALLOW, LOCKGATE_CONFIG="older.ini")
    assert (result.code, len(result.report.undone)) == (0, 2 * len(BACK)), result.output
    assert [database.value(versions.format(tenant)) for tenant in ("ann", "bob")] == ["b2"] * 2


def test_where_env_py_holds_the_transaction_each_revision_is_still_taken_back_by_itself(project, run, database):
    folder = project("returning")
    (folder / "migrations" / "env.py").write_text((project("engine_begin") / "migrations" / "env.py").read_text())
    for words, others in (("with op.get_context().autocommit_block()", "if True"), (" CONCURRENTLY", "")):
        rewrite(folder, "m4", words, others)
    assert run(folder).code == 0

    result = run(folder, "downgrade", "b2", *ALLOW, LOCKGATE_CONFIG="older.ini")

    assert (result.code, result.report.reached) == (0, ("b2",)), result.output
    assert [step.revision for step in result.report.undone] == BACK


def test_nothing_of_another_application_is_taken_back(project, run, database):
    assert run(project("sync")).code == 0
    before = tables_of(database)

    for command in (("downgrade", "base"), ("downgrade", "r1"), ("migrate",)):
        result = run(project("returning"), *command, *ALLOW)
        assert result.code in (21, 22), result.output
        assert (rows_of(database), tables_of(database)) == (["r4"], before)


def test_nor_of_one_that_numbers_its_revisions_alike(written, run, database):
    folder = written("op.create_table('theirs', sa.Column('id', sa.Integer))", downgrade="op.drop_table('theirs')")
    assert run(folder).code == 0
    rewrite(folder / "migrations", "n1", "theirs", "ours")

    result = run(folder, "downgrade", "base", *ALLOW)

    assert (result.code, result.reason) == (22, "Refused"), result.output
    assert "under the same names (n1)" in result.report.message
    assert (rows_of(database), tables_of(database)) == (["n1"], {"alembic_version", "theirs"})
