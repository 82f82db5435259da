"""leave an invalid index"""

from alembic import op
from sqlalchemy.exc import IntegrityError

revision = "i1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE items (id integer PRIMARY KEY, email text)")
    op.execute("INSERT INTO items VALUES (1, 'a'), (2, 'a')")
    with op.get_context().autocommit_block():
        try:
            op.execute("CREATE UNIQUE INDEX CONCURRENTLY items_email ON items (email)")
        except IntegrityError:
            print("nobody will notice")
