"""add totals"""

from alembic import op

revision, down_revision = "o3", "o2"


def upgrade():
    op.execute(
        "CREATE TABLE totals AS SELECT customer, count(*) AS orders, max(placed) AS newest FROM orders GROUP BY 1"
    )
    op.execute("ALTER TABLE orders ADD COLUMN state text DEFAULT 'new'")
