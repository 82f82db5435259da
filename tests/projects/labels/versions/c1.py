"""drop the old column"""

from alembic import op

revision = "c1"
down_revision = None
branch_labels = ("contract",)
depends_on = "e1"


def upgrade() -> None:
    op.execute("CREATE TABLE made_by_c1 (id integer)")
