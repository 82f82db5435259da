"""Makes its URL of several settings, and needs no DATABASE_URL."""

import os

from alembic import context
from sqlalchemy import create_engine, pool
from sqlalchemy.engine import make_url

url = make_url(os.environ["SHOP_ADDRESS"]).set(password=os.environ["SHOP_TOKEN"])
with create_engine(url, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
