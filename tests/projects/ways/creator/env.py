"""Has a function that connects, as connectors of cloud providers do; the engine's URL says the driver alone."""

import importlib
import os

from alembic import context
from sqlalchemy import create_engine, pool
from sqlalchemy.engine import make_url

url = make_url(os.environ["DATABASE_URL"])
driver = importlib.import_module(url.get_dialect().driver)


def connect():
    return driver.connect(
        host=url.host, port=url.port, user=url.username, password=os.environ["SHOP_TOKEN"], dbname=url.database
    )


engine = create_engine(f"{url.drivername}://", creator=connect, poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
