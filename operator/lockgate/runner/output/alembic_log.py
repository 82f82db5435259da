"""Leaves out what Alembic logs of each step, where that would be said twice, or would not be true."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

__all__ = ["without_steps"]


@contextlib.contextmanager
def without_steps() -> Iterator[None]:
    """Keep "Running upgrade a1 -> b2" away, and what else that logger has to tell below a warning.

    A filter, and not a level: an env.py as `alembic init` writes it sets all levels anew.
    """

    def matters(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING

    logger = logging.getLogger("alembic.runtime.migration")
    logger.addFilter(matters)
    try:
        yield
    finally:
        logger.removeFilter(matters)
