"""add items"""

from alembic import op

revision = "x1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE items (id integer PRIMARY KEY, email text)")
    op.execute("INSERT INTO items SELECT n, 'a' || n FROM generate_series(1, 60) AS n")
