"""What the client's end of a connection is set to, so that a cut which nobody hears of is noticed within half a minute.

A firewall that forgets a connection, or a node that vanished, sends nothing. Without these options a session that waits
for its answer waits for two hours (Linux' keepalive), and one whose query was lost for a quarter of one (its
retransmissions). `session_settings` sets the server's end to the same. The drivers take these options
under different names, or not at all, so they are set on the socket itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

__all__ = ["COUNT", "IDLE_SECONDS", "INTERVAL_SECONDS", "UNANSWERED_MS", "keep_alive"]

IDLE_SECONDS, INTERVAL_SECONDS, COUNT = 10, 5, 3
UNANSWERED_MS = 25_000
"""How long what was sent may stay without an acknowledgement; the other three add up to the same."""

_OPTIONS = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", IDLE_SECONDS),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", INTERVAL_SECONDS),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", COUNT),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", UNANSWERED_MS),
)


def keep_alive(connection: Any) -> None:
    """Set the socket of a DBAPI connection, or of SQLAlchemy's adapter of one; what is no TCP socket stays as it is."""
    # A driver may have no socket to be had, a system not know an option: then the server's end has to do.
    with contextlib.suppress(Exception), socket.socket(fileno=os.dup(_descriptor(connection))) as end:
        for level, name, value in _OPTIONS:
            if end.family in (socket.AF_INET, socket.AF_INET6) and hasattr(socket, name):
                end.setsockopt(level, getattr(socket, name), value)


def _descriptor(connection: Any) -> int:
    driver = getattr(connection, "driver_connection", None) or connection
    transport = getattr(driver, "_transport", None)  # asyncpg's
    driver = getattr(driver, "_sock", None) or driver  # PyMySQL's
    return int(transport.get_extra_info("socket").fileno() if transport is not None else driver.fileno())
