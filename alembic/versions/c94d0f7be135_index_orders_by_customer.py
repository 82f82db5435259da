"""index orders by customer

Built CONCURRENTLY, and so outside a transaction: the application goes on writing orders meanwhile.

Revision ID: c94d0f7be135
Revises: 8b52e6d41a07
Create Date: 2026-02-17 11:20:00
"""

from alembic import op

revision = "c94d0f7be135"
down_revision = "8b52e6d41a07"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index("orders_customer_id", "orders", ["customer_id"], postgresql_concurrently=True)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index("orders_customer_id", "orders", postgresql_concurrently=True)
