"""Demands a server whose certificate it knows, of which the URL says nothing."""

import os

from alembic import context
from sqlalchemy import create_engine, pool

tls = {"sslmode": "verify-full", "sslrootcert": "/nowhere/ca.crt"}
with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool, connect_args=tls).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
