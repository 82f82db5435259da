"""make emails unique"""

from alembic import op

revision = "f2"
down_revision = "f1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE items ADD COLUMN half integer")
    op.execute("CREATE UNIQUE INDEX items_email ON items (email)")
