"""fill items"""

from alembic import op

revision = "r4"
down_revision = "r3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("INSERT INTO items SELECT n, 'item ' || n FROM generate_series(1, 100) AS n")
