"""right"""

from alembic import op

revision = "h2"
down_revision = "h0"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE right_side (id integer)")
