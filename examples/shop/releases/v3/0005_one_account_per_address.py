"""one account per address

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-03 08:55:02

Fails: two customers share an address.

"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_unique_constraint("one_account_per_address", "customers", ["email"])


def downgrade() -> None:
    op.drop_constraint("one_account_per_address", "customers")
