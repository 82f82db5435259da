"""make orders and customers"""

from alembic import op

revision = "l1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE customers (id integer PRIMARY KEY, n integer)")
    op.execute("CREATE TABLE orders (id integer PRIMARY KEY, n integer)")
    op.execute("INSERT INTO customers VALUES (1, 0)")
    op.execute("INSERT INTO orders VALUES (1, 0)")
