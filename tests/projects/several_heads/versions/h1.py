"""left"""

from alembic import op

revision = "h1"
down_revision = "h0"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE left_side (id integer)")
