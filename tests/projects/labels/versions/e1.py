"""add a column"""

from alembic import op

revision = "e1"
down_revision = None
branch_labels = ("expand",)
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE made_by_e1 (id integer)")
