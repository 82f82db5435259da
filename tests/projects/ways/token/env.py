"""Asks for a token each time it connects, as for AWS IAM: a listener to do_connect."""

import os

from alembic import context
from sqlalchemy import create_engine, event, pool

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)


@event.listens_for(engine, "do_connect")
def provide_token(dialect, record, arguments, parameters):
    parameters["password"] = os.environ["SHOP_TOKEN"]


with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
