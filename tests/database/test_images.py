"""What a report tells of the database itself: which one it is, and which images led to what it contains.

The operator's record of pods that may start follows it (`lockgate.decide.satisfied`).
"""

from __future__ import annotations

from typing import Any

import pytest

OLD, NEW = "registry.example.com/shop:1", "registry.example.com/shop:2"


def images(result: Any) -> dict[str, tuple[str, ...]]:
    return {one.image: one.target for one in result.report.images}


@pytest.fixture
def releases(project: Any) -> tuple[Any, Any]:
    """Return the older and the newer release of one application."""
    return project("older"), project("newer")


def test_a_report_tells_which_earlier_images_led_to_what_is_there(releases, run):
    old, new = releases
    first = run(old, LOCKGATE_IMAGE=OLD)
    second = run(new, LOCKGATE_IMAGE=NEW)
    nothing = run(new, LOCKGATE_IMAGE=NEW + "-rebuilt")
    again = run(new, LOCKGATE_IMAGE=NEW)

    assert images(first) == {}
    assert images(second) == {OLD: first.report.target}
    assert nothing.reason == again.reason == "NothingToDo"
    assert not again.progress, "the fast path"
    assert images(again) == {NEW + "-rebuilt": second.report.target, OLD: first.report.target}
    assert second.report.complete
    assert again.report.complete
    assert len({result.report.database for result in (first, second, nothing, again)}) == 1
    assert len(first.report.database) == 16


def test_images_of_an_earlier_lockgate_are_known_by_what_they_applied(releases, run, database):
    old, new = releases
    first = run(old, LOCKGATE_IMAGE=OLD)
    run(new, LOCKGATE_IMAGE=NEW)
    database.rows("DROP TABLE lockgate.images")

    assert images(run(new, LOCKGATE_IMAGE=NEW)) == {OLD: first.report.target}


def test_an_image_whose_revisions_were_taken_back_is_not_told(written, run):
    folder = written("pass", "pass")
    run(folder, LOCKGATE_IMAGE=OLD, LOCKGATE_TARGET="n1")
    run(folder, LOCKGATE_IMAGE=NEW)
    (newest,) = folder.rglob("n2*.py")
    newest.unlink()

    back = run(folder, LOCKGATE_IMAGE=OLD, LOCKGATE_DOWNGRADE="Allow")

    assert (back.reason, images(back)) == ("Downgraded", {}), back.output
    assert (back.report.complete, back.report.revisions) == (True, ("n1",))


def test_a_database_that_was_made_again_is_another_one_and_told_as_empty(written, run, make_database):
    folder = written("op.execute('CREATE TABLE n1 ()')", "op.execute('CREATE TABLE n2 ()')")
    before, after = make_database(), make_database()
    first = run(folder, url=before.url(), LOCKGATE_IMAGE=OLD)
    after.rows("CREATE TABLE n1 ()")

    failed = run(folder, url=after.url(), LOCKGATE_IMAGE=NEW)

    assert failed.reason == "MigrationFailed"
    assert failed.report.complete
    assert (failed.report.revisions, images(failed)) == ((), {})
    assert failed.report.database not in ("", first.report.database)


def test_a_run_that_fails_tells_what_is_left_of_a_schema_that_was_reset(written, run, database):
    folder = written("op.execute('CREATE TABLE n1 ()')", "op.execute('CREATE TABLE n2 ()')")
    first = run(folder, LOCKGATE_IMAGE=OLD)
    database.rows(
        "DROP SCHEMA public CASCADE",
    )
    database.rows("CREATE SCHEMA public")
    database.rows("CREATE TABLE n2 ()")

    failed = run(folder, LOCKGATE_IMAGE=NEW)

    assert failed.report.database == first.report.database
    assert (failed.report.complete, failed.report.revisions, images(failed)) == (True, ("n1",), {})


def test_a_run_that_failed_before_it_saw_all_version_tables_claims_nothing_of_the_rest(project, run):
    folder = project("tenants")
    assert run(folder, LOCKGATE_IMAGE=OLD).report.complete
    (folder.parent / "transactional" / "t4.py").write_text(
        "revision, down_revision = 't4', 't3'\n\n\ndef upgrade():\n    raise RuntimeError('no')\n"
    )

    failed = run(folder, LOCKGATE_IMAGE=NEW)

    assert (failed.reason, failed.report.complete) == ("MigrationFailed", False), failed.output


def test_without_the_right_to_ask_for_the_cluster_the_databases_are_told_apart_all_the_same(
    written, run, make_database
):
    folder = written("op.execute('CREATE TABLE n1 ()')")
    first, second = make_database(), make_database()
    for one in (first, second):
        one.rows("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public")
        one.rows(f"CREATE ROLE {one.name} LOGIN PASSWORD 'shop'")
        one.rows(f"ALTER DATABASE {one.name} OWNER TO {one.name}; GRANT CREATE ON SCHEMA public TO {one.name}")
    try:
        found = []
        for one in (first, second, second):
            host = one.url().partition("@")[2]
            found.append(run(folder, url=f"postgresql+psycopg://{one.name}:shop@{host}", LOCKGATE_IMAGE=OLD))
    finally:
        for one in (first, second):
            one.rows(f"REASSIGN OWNED BY {one.name} TO CURRENT_USER; DROP OWNED BY {one.name}; DROP ROLE {one.name}")

    names = [result.report.database for result in found]
    assert "" not in names
    assert names[0] != names[1] == names[2]
