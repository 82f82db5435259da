"""add a price"""

import sqlalchemy as sa
from alembic import op

revision = "g4"
down_revision = "g3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("price", sa.Numeric))
