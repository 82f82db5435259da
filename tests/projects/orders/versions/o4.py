"""index orders by note and state"""

from alembic import op

revision, down_revision = "o4", "o3"


def upgrade():
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_note ON orders (note)")
        op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_state ON orders (state, placed)")
