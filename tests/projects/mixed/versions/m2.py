"""add pets and toys"""

import os

from alembic import op

revision = "m2"
down_revision = "m1"
branch_labels = None
depends_on = None


def run(variable: str) -> None:
    for statement in filter(None, os.environ.get(variable, "").split(";")):
        op.execute(statement)


def upgrade() -> None:
    run("FIRST")
    op.execute("CREATE TABLE pets (id integer PRIMARY KEY, name varchar(50))")
    op.execute("INSERT INTO people VALUES (1, 'Ann')")
    op.execute("CREATE TABLE toys (id integer PRIMARY KEY)")
    run("AND_THEN")


def downgrade() -> None:
    op.execute("DROP TABLE toys")
    op.execute("DELETE FROM people")
    op.execute("DROP TABLE pets")
    run("AND_BACK")
