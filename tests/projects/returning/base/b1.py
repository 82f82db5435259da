"""add orders"""

from alembic import op

revision = "b1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE orders (id integer PRIMARY KEY, note text)")
    op.execute("INSERT INTO orders SELECT number, 'order ' || number FROM generate_series(1, 20) AS number")


def downgrade() -> None:
    op.drop_table("orders")
