"""add tags"""

from alembic import op

revision = "t4"
down_revision = "t3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE tags (id integer)")
