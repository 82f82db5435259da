"""add accounts"""

from alembic import op

revision = "h1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE accounts (id integer PRIMARY KEY, email text)")
    op.execute("CREATE TABLE people (id integer PRIMARY KEY)")
    op.execute("INSERT INTO accounts VALUES (1, 'a'), (2, 'b')")
