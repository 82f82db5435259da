"""fill the column"""

from alembic import op

revision = "e2"
down_revision = "e1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE made_by_e2 (id integer)")
