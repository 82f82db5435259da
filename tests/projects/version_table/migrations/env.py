"""Keeps the version in a table and a schema of its own."""

import os

from alembic import context
from sqlalchemy import create_engine, pool, text

connectable = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool, future=True)

with connectable.connect() as connection:
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS operations"))
    connection.commit()
    context.configure(connection=connection, version_table="Schema Versions", version_table_schema="operations")
    with context.begin_transaction():
        context.run_migrations()
