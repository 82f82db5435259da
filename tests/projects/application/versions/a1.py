"""add prices"""

from alembic import op
from shop.settings import default_currency

revision = "a1"
down_revision = None
CURRENCY = default_currency()


def upgrade() -> None:
    op.execute(f"CREATE TABLE prices (amount integer, currency text DEFAULT '{CURRENCY}')")
