"""second"""

from alembic import op

revision = "d2"
down_revision = None
branch_labels = ("two",)
depends_on = "d1"


def upgrade() -> None:
    op.execute("CREATE TABLE second (id integer)")
