"""The tenant comes from the command line: `alembic -x tenant=ann upgrade head`."""

import os

from alembic import context
from sqlalchemy import create_engine, pool, text

tenant = context.get_x_argument(as_dictionary=True)["tenant"]
connectable = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool, future=True)

with connectable.connect() as connection:
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {tenant}"))
    connection.execute(text(f"SET search_path = {tenant}"))
    connection.commit()
    context.configure(connection=connection, version_table_schema=tenant)
    with context.begin_transaction():
        context.run_migrations()
