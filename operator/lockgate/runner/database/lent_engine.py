"""Opens sessions of Lockgate's own as env.py's engine opens its: driver, arguments, ``do_connect``, ``creator``.

What the engine does to open a connection is asked for each time, because a token that it gets may be good for minutes.
Nothing of the engine's pool is used: neither its connections nor what listens to them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lockgate.runner.database.direct import AsyncpgSession, LibpqSession, Session

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

__all__ = ["LentEngine"]


class LentEngine:
    """An engine of env.py's, by which other sessions can be opened; an asynchronous one lends its synchronous part."""

    def __init__(self, engine: Engine) -> None:
        """Remember the engine; opens nothing."""
        self._engine = engine
        self.backend_name: str = engine.dialect.name

    def open(self) -> Session:
        """Connect; raises what the driver raises, or what env.py's own function does."""
        dialect: Any = self._engine.dialect
        if dialect.driver == "asyncpg":
            return AsyncpgSession(importlib.import_module("asyncpg"), self._connect_asynchronously)
        if dialect.driver in ("psycopg", "psycopg2") and not dialect.is_async:
            return LibpqSession(importlib.import_module(dialect.driver), self._connector())
        from lockgate.runner.database.engine_session import open_created  # noqa: PLC0415  # of other drivers only

        return open_created(self._engine.url, self._connector(), asynchronous=dialect.is_async)

    def _connector(self) -> Callable[[], Any]:
        """Return what opens a connection of the driver's; for an asynchronous driver it needs SQLAlchemy's greenlet."""
        pool: Any = self._engine.pool
        # There is no public name for it. It calls the listeners to do_connect, or else the creator.
        return lambda: pool._invoke_creator(None)

    async def _connect_asynchronously(self) -> Any:
        from sqlalchemy.util import greenlet_spawn  # noqa: PLC0415  # see `lockgate.runner.database.connection`

        adapted = await greenlet_spawn(self._connector())
        return getattr(adapted, "driver_connection", None) or adapted._connection  # the latter before 1.4.24
