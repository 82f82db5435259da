"""What is kept of each revision, and that it is kept with the revision or not at all."""

from __future__ import annotations

import hashlib

import pytest

WHO = {"LOCKGATE_RESOURCE": "prod/shop", "LOCKGATE_RUN": "0a1b", "LOCKGATE_POD": "shop-7c", "LOCKGATE_IMAGE": "shop:3"}


def test_who_applied_what_with_which_source_is_kept(project, run, database):
    folder = project("sync")

    result = run(folder, **WHO)

    assert result.code == 0, result.output
    kept = database.rows(
        "SELECT revision, parents, direction, message, version_table, resource, run, pod, image, role, source,"
        " source_sha256, seconds >= 0, applied_at <= now() FROM lockgate.history ORDER BY id"
    )
    assert [row[0] for row in kept] == ["r1", "r2", "r3", "r4"]
    role = database.value("SELECT current_user")
    source = (folder.parent / "revisions" / "r2.py").read_text()
    assert kept[1] == (
        *(
            "r2",
            '["r1"]',
            "upgrade",
            "add notes",
            "public.alembic_version",
            "prod/shop",
            "0a1b",
            "shop-7c",
            "shop:3",
            role,
        ),
        *(source, hashlib.sha256(source.encode()).hexdigest(), True, True),
    )


@pytest.mark.parametrize(
    ("style", "driver", "last"),
    [("sync", "psycopg2", "r4"), ("engine_begin", "psycopg", "t3"), ("async", "asyncpg", "r4")],
)
def test_a_revision_its_version_and_its_history_are_one_transaction(style, driver, last, project, run, database):
    assert run(project(style), driver=driver).code == 0

    (made,) = database.rows("SELECT DISTINCT xmin::text FROM items")
    assert database.rows("SELECT xmin::text FROM alembic_version") == [made]
    assert database.rows(f"SELECT xmin::text FROM lockgate.history WHERE revision = '{last}'") == [made]


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("sync", [("r2", "off"), ("r3", "off"), ("r4", "on")]),
        ("engine_begin", [("t2", "on"), ("t3", "on")]),
    ],
)
def test_only_a_commit_behind_which_another_follows_does_not_wait_for_the_disk(style, expected, project, run, database):
    folder = project(style)
    assert run(folder, "migrate", "--target", expected[0][0].replace("2", "1")).code == 0
    database.rows("CREATE TABLE waits (revision text, setting text)")
    database.rows(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO waits VALUES (NEW.revision, current_setting('synchronous_commit')); RETURN NEW; END $$"
    )
    database.rows("CREATE TRIGGER note AFTER INSERT ON lockgate.history FOR EACH ROW EXECUTE FUNCTION note()")

    result = run(folder)

    assert result.code == 0, result.output
    assert database.rows("SELECT revision, setting FROM waits ORDER BY revision") == expected
