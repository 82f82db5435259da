"""add tags"""

from alembic import op

revision = "n4"
down_revision = "m3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE tags (id integer PRIMARY KEY)")


def downgrade() -> None:
    op.drop_table("tags")
