"""first"""

from alembic import op

revision = "d1"
down_revision = None
branch_labels = ("one",)
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE first (id integer)")
