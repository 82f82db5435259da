"""add notes"""

from alembic import op

revision = "r2"
down_revision = "r1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE notes (id integer PRIMARY KEY, item integer REFERENCES items (id))")
