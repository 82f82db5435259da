"""one account per address

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-03 11:20:49

Version 3's revision, corrected in place: it was rolled back everywhere, so no database has it.

"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

FIRST = "SELECT min(id) AS id, email FROM customers GROUP BY email"


def upgrade() -> None:
    op.execute(
        f"UPDATE orders SET customer_id = first.id FROM customers JOIN ({FIRST}) AS first USING (email) "
        "WHERE orders.customer_id = customers.id AND customers.id <> first.id"
    )
    same_address_but_not_the_first = "customers.email = first.email AND customers.id <> first.id"
    op.execute(f"DELETE FROM customers USING ({FIRST}) AS first WHERE {same_address_but_not_the_first}")
    op.create_unique_constraint("one_account_per_address", "customers", ["email"])


def downgrade() -> None:
    op.drop_constraint("one_account_per_address", "customers")
