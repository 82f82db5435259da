"""A session that holds a lock of a run, as seen by somebody who does not run."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["QUERY_LIMIT", "LockHolder"]

QUERY_LIMIT = 300


_FRACTION = re.compile(r"\.[0-9]+")
"""Of a second, which nobody reads."""


class LockHolder(NamedTuple):
    """A session that holds the leader lock or the fence."""

    lock: str
    """``leader`` or ``fence``."""
    key: int | str
    pid: int
    application_name: str
    role: str
    since: str
    """When the session began, as PostgreSQL writes it; empty where this role may not see that."""
    state: str
    query: str
    """Its statement without values, running or last; empty where this role may not see it."""
    address: str = ""
    """Where its client is, with the port; MySQL tells this and not when the session began."""

    def details(self) -> dict[str, object]:
        """Return it for JSON, without the key of the lock, which is an internal number."""
        found = self._asdict()
        del found["key"]
        return found

    @property
    def spoken(self) -> str:
        """Say it in a line."""
        role = self.role and f"role {self.role}"
        since = self.since and f"since {_FRACTION.sub('', self.since)}"
        known = (self.application_name, role, self.address, since, self.state)
        return f"{self.lock} held by pid {self.pid} ({', '.join(part for part in known if part)})"
