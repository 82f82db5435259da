"""add events, in words"""

from alembic import op

revision = "g3"
down_revision = "g2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA audit; CREATE TABLE audit.events (id integer PRIMARY KEY, what text, CHECK (id > 0));")
