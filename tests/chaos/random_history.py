"""Histories of short random revisions that can show afterwards how often each was applied."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

__all__ = ["counted", "write_project"]

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


def _halves(name: str, dice: random.Random) -> str:
    return f"""
    op.execute("INSERT INTO counted VALUES ('{name} before')")
    op.execute("{_pause(dice)}")
    with op.get_context().autocommit_block():
        op.execute("INSERT INTO counted VALUES ('{name} in a block')")
        op.execute("{_pause(dice)}")
        op.execute("CREATE INDEX CONCURRENTLY {name}_half ON items (slowly(n))")
    op.execute("ALTER TABLE items ADD COLUMN {name} integer")
"""


def _commits(name: str, dice: random.Random) -> str:
    return f"""
    for part in ("one", "two", "three"):
        op.execute(f"INSERT INTO counted VALUES ('{name} {{part}}')")
        op.execute("{_pause(dice)}")
        op.get_bind().commit()
"""


def _pause(dice: random.Random) -> str:
    return f"DO 'BEGIN PERFORM pg_sleep({dice.uniform(0.001, 0.1):.3f}); END'"


Kind = Callable[[str, random.Random], str]

KINDS: tuple[Kind, ...] = (_table, _table, _data, _data, _index, _rebuilt, _replaced, _halves, _halves)

REVISION = '''"""{kind}"""

from alembic import op

revision = "{name}"
down_revision = {before!r}


def upgrade() -> None:
{body}
    op.execute("INSERT INTO counted VALUES ('{name}')")
'''


def write_project(folder: Path, environment: Path, dice: random.Random, *, commits: bool) -> list[str]:
    """Write a project with a random history, migrated by the env.py in ``environment``; return its revisions.

    ``commits``: that env.py lets revisions commit by themselves.
    """
    kinds = (*KINDS, _commits, _commits) if commits else KINDS
    versions = folder / "versions"
    versions.mkdir(parents=True)
    (folder / "alembic.ini").write_text(
        f"[alembic]\nscript_location = {environment}\nversion_locations = %(here)s/versions\n"
    )
    names: list[str] = []
    for number in range(dice.randint(6, 12)):
        name, kind = f"c{number:02}", dice.choice(kinds)
        body = BASE if number == 0 else kind(name, dice)
        title = "base" if number == 0 else kind.__name__.strip("_")
        text = REVISION.format(kind=title, name=name, before=names[-1] if names else None, body=body.strip("\n"))
        (versions / f"{name}.py").write_text(text)
        names.append(name)
    return names


def counted(folder: Path) -> list[tuple[str]]:
    """Return what a project's history inserts into ``counted``, each once."""
    text = "".join(path.read_text() for path in (folder / "versions").glob("*.py"))
    words = re.findall(r"INTO counted VALUES \('([^']+)'\)", text)
    parts = [word.replace("{part}", part) for word in words for part in ("one", "two", "three")]
    return sorted((word,) for word in set(parts))
