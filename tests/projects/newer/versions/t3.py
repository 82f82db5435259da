"""fill items"""

from alembic import op

revision = "t3"
down_revision = "t2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("INSERT INTO items VALUES (1, 'one')")
