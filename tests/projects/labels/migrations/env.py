"""Alembic's generic template, with the URL from the environment."""

import os

from alembic import context
from sqlalchemy import create_engine, pool

connectable = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)

with connectable.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
