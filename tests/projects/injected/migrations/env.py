"""Uses a connection from config.attributes where a program has put one there, else its own engine."""

import os

from alembic import context
from sqlalchemy import create_engine, pool

connection = context.config.attributes.get("connection")
if connection is None:
    connection = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool).connect()

with connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
