"""call users people"""

import sqlalchemy as sa
from alembic import op

revision = "g2"
down_revision = "g1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.rename_table("users", "people")
    op.alter_column("people", "name", new_column_name="full_name")
    op.add_column("orders", sa.Column("note", sa.Text))
    op.drop_column("orders", "memo")
    op.drop_table("scratch")
