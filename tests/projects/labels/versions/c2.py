"""require the column"""

from alembic import op

revision = "c2"
down_revision = "c1"
branch_labels = None
depends_on = "e2"


def upgrade() -> None:
    op.execute("CREATE TABLE made_by_c2 (id integer)")
