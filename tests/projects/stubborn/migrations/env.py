"""Catches whatever comes, also what is no Exception, and tries again."""

import os

from alembic import context
from sqlalchemy import create_engine, pool

connectable = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)

for _ in range(3):
    try:
        with connectable.connect() as connection:
            context.configure(connection=connection)
            with context.begin_transaction():
                context.run_migrations()
        break
    except BaseException as error:
        print("never mind", type(error).__name__)
