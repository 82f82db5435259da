"""add users and orders"""

import sqlalchemy as sa
from alembic import op

revision = "g1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("users", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("person", sa.Integer, sa.ForeignKey("users.id")),
        sa.Column("memo", sa.Text),
    )
    op.create_table("scratch", sa.Column("id", sa.Integer))
    op.get_bind().execute(sa.text("INSERT INTO users VALUES (0, 'nobody')"))
