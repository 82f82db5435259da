"""Asks for a token each time it connects, over an asynchronous engine."""

import asyncio
import os

from alembic import context
from sqlalchemy import event, pool
from sqlalchemy.ext.asyncio import create_async_engine

engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)


@event.listens_for(engine.sync_engine, "do_connect")
def provide_token(dialect, record, arguments, parameters):
    parameters["password"] = os.environ["SHOP_TOKEN"]


def migrate(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def main():
    async with engine.connect() as connection:
        await connection.run_sync(migrate)


asyncio.run(main())
