"""Alembic's generic template, with offline mode, the models, and a search_path from the environment."""

import os

import sqlalchemy as sa
from alembic import context
from sqlalchemy import create_engine, pool, text

metadata = sa.MetaData()
"""The models: the tables of revision g3."""
sa.Table("people", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("full_name", sa.Text))
sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("person", sa.Integer, sa.ForeignKey("people.id")),
    sa.Column("note", sa.Text),
)
sa.Table("events", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("what", sa.Text), schema="audit")


def run_offline():
    context.configure(url=os.environ["DATABASE_URL"], target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_online():
    connectable = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
    with connectable.connect() as connection:
        if os.environ.get("SCHEMA"):
            connection.execute(text(f"SET search_path = {os.environ['SCHEMA']}"))
            connection.commit()
        if os.environ.get("CREATE_ALL"):
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS audit"))
            metadata.create_all(connection)
            connection.commit()
            raise SystemExit("made the tables")
        for table in os.environ.get("VERSION_TABLES", "alembic_version").split(","):
            context.configure(connection=connection, target_metadata=metadata, version_table=table)
            with context.begin_transaction():
                context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
