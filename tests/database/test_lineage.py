"""What lockgate.history says of one version table, and of no other."""

from __future__ import annotations

import re

import pytest

INI = "[alembic]\nscript_location = %(here)s/migrations\nversion_locations = %(here)s/versions\n"
ENV = """
import os
from alembic import context
from sqlalchemy import create_engine, pool

connectable = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
with connectable.connect() as connection:
    context.configure(connection=connection, version_table=os.environ.get("TABLE", "alembic_version"),
                      version_table_schema=os.environ.get("SCHEMA"))
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = '''"""number {number}"""
from alembic import op

revision = "{number}"
down_revision = {parent!r}


def upgrade() -> None:
    op.execute("CREATE TABLE {name}_{number} (id integer)")


def downgrade() -> None:
    op.execute("DROP TABLE {name}_{number}")
'''


@pytest.fixture
def numbered(tmp_path):
    """Make a project whose revisions are called 1, 2, 3."""

    def make(name: str, count: int):
        folder = tmp_path / f"{name}-{count}"
        (folder / "migrations").mkdir(parents=True)
        (folder / "versions").mkdir()
        (folder / "alembic.ini").write_text(INI)
        (folder / "migrations" / "env.py").write_text(ENV)
        for number in range(1, count + 1):
            parent = str(number - 1) if number > 1 else None
            (folder / "versions" / f"{number}.py").write_text(REVISION.format(name=name, number=number, parent=parent))
        return folder

    return make


def test_two_projects_with_equal_numbers_do_not_know_each_others_revisions(numbered, run, database):
    run(numbered("shop", 4), TABLE="shop_version")
    bill = numbered("bill", 2)
    run(bill, TABLE="bill_version")
    database.rows("UPDATE bill_version SET version_num = '4'")

    result = run(bill, TABLE="bill_version")

    assert (result.code, result.reason) == (22, "DatabaseAhead"), result.output
    assert "no record" in result.report.message
    for command in (("status",), ("wait", "--timeout", "0s")):
        looked = run(bill, *command, "--version-table", "bill_version")
        assert looked.reason != "SchemaReady", looked.output
        assert re.search("no record", looked.output), looked.output


def test_each_project_takes_back_what_was_applied_for_it_and_nothing_of_the_other(numbered, run, database):
    run(numbered("shop", 4), TABLE="shop_version")
    run(numbered("bill", 4), TABLE="bill_version")

    result = run(numbered("bill", 2), "downgrade", "2", "--downgrade", "Allow", TABLE="bill_version")

    assert (result.code, [step.revision for step in result.report.undone]) == (0, ["4", "3"]), result.output
    tables = {row[0] for row in database.rows("SELECT tablename FROM pg_tables WHERE tablename ~ '_[0-9]$'")}
    assert tables == {"shop_1", "shop_2", "shop_3", "shop_4", "bill_1", "bill_2"}
    assert database.rows("SELECT version_num FROM shop_version") == [("4",)]


def test_a_renamed_schema_keeps_its_lineage(numbered, run, database):
    database.rows("CREATE SCHEMA one")
    run(numbered("shop", 4), SCHEMA="one")
    database.rows("ALTER SCHEMA one RENAME TO two")

    result = run(numbered("shop", 2), SCHEMA="two")

    assert (result.code, result.reason) == (0, "DatabaseAhead"), result.output
    assert result.report.revisions == ("1", "2", "3", "4")


def test_a_tenant_that_is_there_lends_its_lineage_to_no_other(numbered, run, database):
    database.rows("CREATE SCHEMA one")
    run(numbered("shop", 4), SCHEMA="one")
    database.rows("CREATE SCHEMA two")
    database.rows("CREATE TABLE two.alembic_version AS TABLE one.alembic_version")

    result = run(numbered("shop", 2), SCHEMA="two")

    assert (result.code, result.reason) == (22, "DatabaseAhead"), result.output
