"""Sets its own time-outs, and blocks in an advisory lock of its own: the pattern of pypi/warehouse."""

import os

from alembic import context
from sqlalchemy import create_engine, pool, text

connectable = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool, future=True)

with connectable.connect() as connection:
    connection.execute(text("SET statement_timeout = 30000"))
    connection.execute(text(f"SET lock_timeout = {os.environ.get('ENV_LOCK_TIMEOUT', '4000')}"))
    connection.commit()
    context.configure(connection=connection)
    connection.execute(text("SELECT pg_advisory_lock(hashtext('alembic'))"))
    connection.commit()
    with context.begin_transaction():
        context.run_migrations()
