"""root"""

from alembic import op

revision = "h0"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE root (id integer)")
