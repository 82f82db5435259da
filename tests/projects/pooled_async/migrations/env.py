"""An application's own pooled engine, never disposed: the session outlives env.py."""

import asyncio
import os
import sys

from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine


def migrate(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def main():
    async with engine.connect() as connection:
        await connection.run_sync(migrate)


# As in a module of the application: made once, and kept as long as the process lives.
engine = sys.modules.setdefault("engine_of_the_application", create_async_engine(os.environ["DATABASE_URL"]))
loop = sys.modules.setdefault("loop_of_the_application", asyncio.new_event_loop())
loop.run_until_complete(main())
