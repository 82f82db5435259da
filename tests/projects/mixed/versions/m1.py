"""add people"""

from alembic import op

revision = "m1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE people (id integer PRIMARY KEY, name varchar(50))")


def downgrade() -> None:
    op.execute("DROP TABLE people")
