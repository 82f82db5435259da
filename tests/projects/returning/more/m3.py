"""add totals"""

import sqlalchemy as sa
from alembic import op

revision = "m3"
down_revision = "b2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("total", sa.Integer()))


def downgrade() -> None:
    op.drop_column("orders", "total")
