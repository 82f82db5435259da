"""Histories of short random revisions that can show afterwards how often each was applied."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

__all__ = ["write_project"]

BASE = """
    op.execute("CREATE TABLE counted (revision text)")
    op.execute("CREATE TABLE items (id integer PRIMARY KEY, n integer)")
    op.execute("INSERT INTO items SELECT n, n FROM generate_series(1, 8) AS n")
    op.execute(
        "CREATE FUNCTION slowly(integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql"
        " AS $$ BEGIN PERFORM pg_catalog.pg_sleep(0.005); RETURN $1; END $$"
    )
    op.create_index("items_first", "items", ["n"])
"""


def _table(name: str, dice: random.Random) -> str:
    return f"""
    op.execute("CREATE TABLE {name} (id integer PRIMARY KEY, n integer)")
    op.execute("SELECT pg_sleep({dice.uniform(0.001, 0.2):.3f})")
    op.execute("ALTER TABLE items ADD COLUMN {name} integer")
"""


def _data(name: str, dice: random.Random) -> str:
    return f"""
    op.execute("UPDATE items SET n = n + 1 WHERE id = {dice.randint(1, 8)}")
    op.execute("SELECT pg_sleep({dice.uniform(0.001, 0.2):.3f})")
    op.execute("INSERT INTO items SELECT max(id) + 1, 0 FROM items")
"""


def _index(name: str, dice: random.Random) -> str:  # as the others
    return f"""
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS {name}_idx ON items (slowly(n))")
"""


def _rebuilt(name: str, dice: random.Random) -> str:  # as the others
    return """
    with op.get_context().autocommit_block():
        op.execute("REINDEX TABLE CONCURRENTLY items")
"""


def _replaced(name: str, dice: random.Random) -> str:  # as the others
    return f"""
    with op.get_context().autocommit_block():
        op.execute("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {name}_key ON items (id, slowly(n))")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS {name}_key")
"""


KINDS: tuple[Callable[[str, random.Random], str], ...] = (_table, _table, _data, _data, _index, _rebuilt, _replaced)

REVISION = '''"""{kind}"""

from alembic import op

revision = "{name}"
down_revision = {before!r}


def upgrade() -> None:
{body}
    op.execute("INSERT INTO counted VALUES ('{name}')")
'''


def write_project(folder: Path, environment: Path, dice: random.Random) -> list[str]:
    """Write a project with a random history, migrated by the env.py in ``environment``; return its revisions."""
    versions = folder / "versions"
    versions.mkdir(parents=True)
    (folder / "alembic.ini").write_text(
        f"[alembic]\nscript_location = {environment}\nversion_locations = %(here)s/versions\n"
    )
    names: list[str] = []
    for number in range(dice.randint(6, 12)):
        name, kind = f"c{number:02}", dice.choice(KINDS)
        body = BASE if number == 0 else kind(name, dice)
        title = "base" if number == 0 else kind.__name__.strip("_")
        text = REVISION.format(kind=title, name=name, before=names[-1] if names else None, body=body.strip("\n"))
        (versions / f"{name}.py").write_text(text)
        names.append(name)
    return names
