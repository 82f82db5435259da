"""Which tables and columns a sequence of operations leaves, and where that cannot be known."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.ddl.base import AddColumn, ColumnName, DropColumn, RenameTable

from lockgate.runner.adoption.inventory import Inventory
from lockgate.runner.adoption.schema_match import Existing, compare_tables, mismatch, named_tables


def after(*operations):
    inventory = Inventory()
    for operation in operations:
        inventory.take(operation)
    return inventory


def created(name, *columns, schema=None, prefixes=()):
    table = sa.Table(
        name, sa.MetaData(), *(sa.Column(c, sa.Integer) for c in columns), schema=schema, prefixes=prefixes
    )
    return sa.schema.CreateTable(table)


def test_operations_are_followed():
    inventory = after(
        created("a", "id", "x"),
        created("b", "id"),
        created("gone", "id"),
        created("t", "id", prefixes=["TEMPORARY"]),
        AddColumn("a", sa.Column("y", sa.Integer)),
        DropColumn("a", sa.Column("x", sa.Integer)),
        ColumnName("a", "y", "z"),
        RenameTable("b", "c"),
        sa.schema.DropTable(sa.Table("gone", sa.MetaData())),
        sa.text("DROP TABLE t"),
        sa.insert(sa.table("a", sa.column("id"))).values(id=1),
    )

    assert inventory.tables == {("", "a"): {"id", "z"}, ("", "c"): {"id"}}
    assert inventory.doubts == []


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        (
            "CREATE TABLE IF NOT EXISTS a (id int, CONSTRAINT p PRIMARY KEY (id, x), x numeric(3, 2))",
            {("", "a"): {"id", "x"}},
        ),
        ('create unlogged table s."B c" ("D" int); -- CREATE TABLE no ()', {("s", "B c"): {"D"}}),
        ("CREATE TEMP TABLE a (id int); ALTER TABLE a ADD b int; DROP TABLE a", {}),
        ("CREATE TABLE a AS SELECT 1", {("", "a"): None}),
        ("CREATE TABLE a (LIKE b)", {("", "a"): None}),
        ("CREATE TABLE a PARTITION OF b FOR VALUES IN (1)", {("", "a"): None}),
        (
            "CREATE TABLE a (id int); ALTER TABLE ONLY public.a ADD b int, DROP COLUMN id, ADD CHECK (b > 0)",
            {("", "a"): {"b"}},
        ),
        ("CREATE TABLE a (id int); ALTER TABLE a RENAME id TO b; ALTER TABLE a RENAME TO c", {("", "c"): {"b"}}),
        (
            "CREATE TABLE a (id int); ALTER TABLE a RENAME CONSTRAINT x TO y; ALTER TABLE a SET SCHEMA s",
            {("s", "a"): {"id"}},
        ),
        ("CREATE TABLE a (id int); CREATE TABLE s.b (id int); DROP TABLE IF EXISTS a, s.b CASCADE", {}),
        ("CREATE TABLE s.a (id int); DROP SCHEMA IF EXISTS s CASCADE", {}),
        ("SET search_path = shop, public; CREATE TABLE a (id int)", {("shop", "a"): {"id"}}),
        (
            "SELECT pg_catalog.set_config('search_path', '', false); CREATE TABLE public.a (id int)",
            {("public", "a"): {"id"}},
        ),
        ("INSERT INTO x VALUES ('; DROP TABLE a;'); CREATE VIEW v AS SELECT 1; ALTER VIEW v RENAME TO w", {}),
        ("CREATE FUNCTION f() RETURNS void AS $$ BEGIN CREATE TABLE z (id int); END $$ LANGUAGE plpgsql", {}),
        ("DO $$ BEGIN UPDATE a SET b = 1; END $$", {}),
        ("ALTER TABLE made_elsewhere ADD COLUMN b int", {("", "made_elsewhere"): None}),
    ],
)
def test_sql_in_words_is_followed(sql, tables):
    inventory = after(sa.text(sql))

    assert inventory.tables == tables
    assert inventory.doubts == []


@pytest.mark.parametrize(
    "sql",
    [
        "DO $$ BEGIN EXECUTE 'CREATE TABLE a ()'; END $$",
        "DO $x$ BEGIN ALTER TABLE a ADD b int; END $x$",
        "CALL make_tables()",
        "SELECT * INTO copy FROM a",
        "ALTER SCHEMA a RENAME TO b",
    ],
)
def test_what_cannot_be_followed_is_a_doubt(sql):
    assert len(after(sa.text(sql)).doubts) == 1


def test_a_table_without_a_schema_is_the_one_that_the_session_sees():
    existing = [Existing("old", "a", visible=False), Existing("shop", "b", visible=True, columns=frozenset({"id"}))]

    found = compare_tables({("", "a"): None, ("", "b"): {"id", "x"}, ("old", "a"): None}, existing)

    assert (found.missing, found.lacking, found.is_empty, found.is_complete) == (("a",), ("b.x",), False, False)
    assert compare_tables(named_tables(["old.a", "b"]), existing).is_complete


def test_a_long_list_of_what_is_missing_is_cut_short():
    found = compare_tables({("", f"t{number:02}"): None for number in range(12)}, [])

    assert found.is_empty
    assert "12 of its 12 tables missing: t00," in mismatch(["a"], found).message
    assert "t09 and 2 more" in mismatch(["a"], found).message
