"""As in Prefect: on the event loop of a server that calls it from a worker thread; it finds its revisions itself."""

import os
from pathlib import Path

import anyio.from_thread
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine


def migrate(connection):
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


async def main():
    if not context.script.version_locations:
        context.script.version_locations = [str(Path(__file__).parents[2] / "revisions")]
    engine = create_async_engine(os.environ["DATABASE_URL"])
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
    finally:
        await engine.dispose()


anyio.from_thread.run(main)
