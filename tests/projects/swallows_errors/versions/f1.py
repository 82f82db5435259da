"""add items"""

from alembic import op

revision = "f1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE items (id integer PRIMARY KEY, email text)")
    op.execute("INSERT INTO items VALUES (1, 'ann@example.com'), (2, 'ann@example.com')")
