"""count slowly"""

import os

from alembic import op

revision = "s2"
down_revision = "s1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("INSERT INTO counted VALUES (1)")
    op.execute(f"SELECT pg_sleep({os.environ.get('SLOW_SECONDS', '0')})")
