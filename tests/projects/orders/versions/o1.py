"""add orders"""

from alembic import op

revision, down_revision = "o1", None


def upgrade():
    op.execute("CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint, placed timestamptz, note text)")
    op.execute(
        "INSERT INTO orders SELECT n, n % 1000, now() - n * interval '1 minute', md5(n::text)"
        " FROM generate_series(1, 5000000) AS n"
    )
