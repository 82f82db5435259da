"""add words"""

from alembic import op

revision = "k1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE words (word text NOT NULL, seen boolean NOT NULL DEFAULT false)")
