"""work on an index"""

import os

from alembic import op

revision = "x2"
down_revision = "x1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(os.environ.get("WORK", "CREATE UNIQUE INDEX CONCURRENTLY items_email ON items (email)"))
