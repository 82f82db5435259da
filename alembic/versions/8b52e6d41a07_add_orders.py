"""add orders

Revision ID: 8b52e6d41a07
Revises: 3f1c7a90d2e4
Create Date: 2026-02-03 14:05:00
"""

import sqlalchemy as sa
from alembic import op

revision = "8b52e6d41a07"
down_revision = "3f1c7a90d2e4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("customer_id", sa.BigInteger, sa.ForeignKey("customers.id"), nullable=False),
        sa.Column("total_cents", sa.BigInteger, nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )


def downgrade() -> None:
    op.drop_table("orders")
