"""fill totals"""

from alembic import op

revision = "m6"
down_revision = "m5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE orders SET total = 7")


def downgrade() -> None:
    op.execute("UPDATE orders SET total = NULL")
