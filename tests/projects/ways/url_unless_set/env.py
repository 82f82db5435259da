"""Takes the application's own setting, and its driver, where the configuration has no URL."""

import asyncio
import os

from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import async_engine_from_config


def migrate(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def main():
    section = context.config.get_section(context.config.config_ini_section) or {}
    if "sqlalchemy.url" not in section:
        section["sqlalchemy.url"] = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
    async with async_engine_from_config(section, poolclass=pool.NullPool).connect() as connection:
        await connection.run_sync(migrate)


asyncio.run(main())
