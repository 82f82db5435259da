"""A shop that answers one question: which version is this, and what is in its database?

It is ready only if its database has the columns that this version works with, as a real application would fail without
them.
"""

import json
import os
import signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg

VERSION = int(os.environ["SHOP_VERSION"])

# What each version of the shop selects. A query fails where a column is missing.
ORDERS = f"SELECT id, customer_id, cents{', currency' if VERSION >= 2 else ''} FROM orders"


def look() -> dict[str, object]:
    url = os.environ["DATABASE_URL"].replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(url, connect_timeout=3) as connection:
        customers = connection.execute("SELECT count(*) FROM customers").fetchone()
        orders = connection.execute(f"SELECT count(*) FROM ({ORDERS}) AS orders").fetchone()
    return {"shop": VERSION, "customers": customers[0], "orders": orders[0]}


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        try:
            status, body = 200, look()
        except psycopg.Error as error:
            status, body = 503, {"shop": VERSION, "error": type(error).__name__}
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode() + b"\n")

    def log_message(self, *_: object) -> None:
        """Be quiet: a probe asks every second."""


if __name__ == "__main__":
    # The first process of a container gets no default handling of SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    ThreadingHTTPServer(("", int(os.environ.get("PORT", "8000"))), Answer).serve_forever()
