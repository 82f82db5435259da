"""index orders by customer"""

from alembic import op

revision, down_revision = "o2", "o1"


def upgrade():
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_customer ON orders (customer, placed)")
