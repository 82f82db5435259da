"""fill in the currency

Revision ID: 0004
Revises: 0003
Create Date: 2026-10-05 10:40:17

The slow kind of revision: it rewrites every order, in parts. `-x seconds=...` says how long it pretends to need.

"""

from alembic import context, op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

PARTS = 5


def upgrade() -> None:
    seconds = float(context.get_x_argument(as_dictionary=True).get("seconds", "15")) / PARTS
    for part in range(PARTS):
        op.execute(
            f"UPDATE orders SET currency = 'EUR' FROM (SELECT pg_sleep({seconds})) AS slowly "
            f"WHERE mod(orders.id, {PARTS}) = {part}"
        )
    op.alter_column("orders", "currency", nullable=False)


def downgrade() -> None:
    op.alter_column("orders", "currency", nullable=True)
