"""An application's own pooled engine, never disposed: the session outlives env.py."""

import os
import sys

from alembic import context
from sqlalchemy import create_engine

# As in a module of the application: made once, and kept as long as the process lives.
engine = sys.modules.setdefault("engine_of_the_application", create_engine(os.environ["DATABASE_URL"]))

with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
