"""add audit"""

from alembic import op

revision = "x1"
down_revision = None
branch_labels = ("audit",)
depends_on = "m5"


def upgrade() -> None:
    op.execute("CREATE TABLE audit (id integer REFERENCES tags (id))")


def downgrade() -> None:
    op.drop_table("audit")
