"""add customers"""

from alembic import op

revision = "b2"
down_revision = "b1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE customers (id integer PRIMARY KEY)")


def downgrade() -> None:
    op.drop_table("customers")
