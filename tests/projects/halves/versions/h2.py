"""commit in the middle"""

import os

from alembic import op

revision = "h2"
down_revision = "h1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE people ADD COLUMN age integer")
    op.get_bind().exec_driver_sql("SELECT count(*) FROM accounts")
    if os.environ.get("HOW") == "commit":
        op.execute("COMMIT")
        op.execute("CREATE UNIQUE INDEX CONCURRENTLY accounts_email ON accounts (email)")
        return
    with op.get_context().autocommit_block():
        op.execute("CREATE UNIQUE INDEX CONCURRENTLY accounts_email ON accounts (email)")
    op.execute("CREATE TABLE more (id integer)")
    op.execute("SELECT 1 / 0 FROM accounts")
