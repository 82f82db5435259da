"""Reference migration environment: reads DATABASE_URL, works with `alembic` and `lockgate migrate` alike."""

import os
import sys

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool


def database_url() -> str:
    url = os.environ.get("DATABASE_URL", "")
    if not url:
        sys.exit("DATABASE_URL is not set; write it like postgresql+psycopg://user:password@localhost:5432/shop")
    return url


def run_migrations_offline() -> None:
    context.configure(url=database_url(), literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_migrations_online() -> None:
    engine = create_engine(database_url(), poolclass=NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
