"""Two databases, and a transaction around both: Alembic's multidb template."""

import os

from alembic import context
from sqlalchemy import create_engine, pool

engines = [
    create_engine(os.environ[name], poolclass=pool.NullPool, future=True)
    for name in ("DATABASE_URL", "SECOND_DATABASE_URL")
]
connections = [engine.connect() for engine in engines]
transactions = [connection.begin() for connection in connections]
try:
    for connection in connections:
        context.configure(connection=connection)
        context.run_migrations()
    for transaction in transactions:
        transaction.commit()
except BaseException:
    for transaction in transactions:
        transaction.rollback()
    raise
finally:
    for connection in connections:
        connection.close()
