"""SQLAlchemy's recipe for SQLite: the driver leaves transactions alone, and each one begins with BEGIN."""

import os

from alembic import context
from sqlalchemy import create_engine, event, pool

connectable = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)


@event.listens_for(connectable, "connect")
def connected(connection, record):
    connection.isolation_level = None


@event.listens_for(connectable, "begin")
def begin(connection):
    connection.exec_driver_sql("BEGIN")


with connectable.connect() as connection:
    context.configure(connection=connection, transactional_ddl=True, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
