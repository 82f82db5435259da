"""Begins a transaction by a statement before configure(), and never commits it."""

import os

from alembic import context
from sqlalchemy import create_engine, pool, text

with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool, future=True).connect() as connection:
    connection.execute(text("SET search_path = public"))
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
