"""The pattern of pypi/warehouse: revisions commit over op.get_bind(), and env.py commits what is left at the end."""

import os

from alembic import context
from sqlalchemy import create_engine, pool, text

connectable = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool, future=True)

with connectable.connect() as connection:
    connection.execute(text("SET statement_timeout = 30000"))
    connection.commit()
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
