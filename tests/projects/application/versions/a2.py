"""fill prices"""

from alembic import op
from shop.settings import default_currency

revision = "a2"
down_revision = "a1"
CURRENCY = default_currency()


def upgrade() -> None:
    op.execute(f"INSERT INTO prices VALUES (1, '{CURRENCY}')")
