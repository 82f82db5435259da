"""alter both, one after the other"""

from alembic import op

revision = "l2"
down_revision = "l1"
branch_labels = None
depends_on = None

lockgate_locks = ("orders", "public.customers")


def upgrade() -> None:
    op.execute("ALTER TABLE orders ADD COLUMN more integer")
    op.execute("SELECT pg_sleep(0.3)")
    op.execute("ALTER TABLE customers ADD COLUMN more integer")
