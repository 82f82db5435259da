"""One transaction of env.py's around everything."""

import os

from alembic import context
from sqlalchemy import create_engine, pool

with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool).begin() as connection:
    context.configure(connection=connection)
    context.run_migrations()
