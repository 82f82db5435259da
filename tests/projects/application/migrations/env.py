"""Sets up the application, which its revision files import: nobody can load them before."""

import sys
from pathlib import Path

from alembic import context

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from shop.settings import connectable, set_up

set_up()

with connectable.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
