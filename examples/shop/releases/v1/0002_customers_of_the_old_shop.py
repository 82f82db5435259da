"""customers of the old shop

Revision ID: 0002
Revises: 0001
Create Date: 2026-09-02 15:30:08

"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "INSERT INTO customers (name, email) "
        "SELECT 'Customer ' || n, 'customer' || n || '@example.com' FROM generate_series(1, 500) AS n"
    )
    # Somebody registered twice. Nobody noticed at the time.
    op.execute("INSERT INTO customers (name, email) VALUES ('Ada', 'ada@example.com'), ('Ada L.', 'ada@example.com')")
    op.execute("INSERT INTO orders (customer_id, cents) SELECT id, 100 + id FROM customers, generate_series(1, 4)")


def downgrade() -> None:
    op.execute("DELETE FROM orders")
    op.execute("DELETE FROM customers")
