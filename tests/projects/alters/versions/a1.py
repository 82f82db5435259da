"""add busy"""

from alembic import op

revision = "a1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE busy (id integer PRIMARY KEY, name text)")
    op.execute("INSERT INTO busy SELECT n, 'x' FROM generate_series(1, 100) AS n")
