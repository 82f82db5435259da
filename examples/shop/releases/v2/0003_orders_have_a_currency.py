"""orders have a currency

Revision ID: 0003
Revises: 0002
Create Date: 2026-10-05 10:02:31

"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("currency", sa.Text))


def downgrade() -> None:
    op.drop_column("orders", "currency")
