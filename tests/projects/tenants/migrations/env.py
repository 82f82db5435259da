"""A schema per tenant: several contexts in one run."""

import os

from alembic import context
from sqlalchemy import create_engine, pool, text

connectable = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool, future=True)

for tenant in ("ann", "bob"):
    with connectable.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {tenant}"))
        connection.execute(text(f"SET search_path = {tenant}"))
        connection.commit()
        context.configure(connection=connection, version_table_schema=tenant)
        with context.begin_transaction():
            context.run_migrations()
