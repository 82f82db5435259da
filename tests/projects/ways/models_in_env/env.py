"""Has a model of its own, which its metadata takes once, and a secret."""

import os

from alembic import context
from shop_models import metadata
from sqlalchemy import Column, Integer, Table, create_engine, pool

audit = Table("audit", metadata, Column("id", Integer, primary_key=True))
secret = {"password": os.environ["SHOP_TOKEN"]}
with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool, connect_args=secret).connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
