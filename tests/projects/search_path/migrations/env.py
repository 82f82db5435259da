"""Runs a statement of its own before configure(), and commits everything at the end."""

import os

from alembic import context
from sqlalchemy import create_engine, pool, text

with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool, future=True).connect() as connection:
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS shop"))
    connection.execute(text("SET search_path = shop"))
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
