"""Migration histories to measure on: two real ones from PyPI, and projects of our own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from measuring import ALEMBIC, LOCKGATE, PROJECTS, Command, Server, load

MLFLOW = ("mlflow-skinny==3.17.2", "alembic>=1.16", "sqlalchemy>=2.0", "psycopg[binary]>=3.2")
PREFECT = ("prefect==3.8.8", "asyncpg>=0.30")


@dataclass(frozen=True)
class History:
    """How to run a history on a database, by each of the two."""

    name: str
    plain: Callable[[str], Command]
    """`alembic upgrade heads`, or the nearest thing to it that the project has."""
    lockgate: Callable[[str], Command]
    bare: Callable[[str], Command]
    """Python that imports the history's driver, connects, and ends: the least that a runner costs."""
    database: Callable[[], str]
    """Makes a database where nothing of the history is applied."""


PSYCOPG = "import sys, psycopg; psycopg.connect(sys.argv[1]).execute('SELECT 1')"
ASYNCPG = """
import asyncio, sys, asyncpg

async def look():
    connection = await asyncpg.connect(sys.argv[1])
    await connection.execute('SELECT 1')

asyncio.run(look())
"""


def mlflow(server: Server, python: Path | None = None) -> History:
    """MLflow: 67 revisions, psycopg; its base is what create_all() makes, and env.py reads the .ini file's URL."""
    python = python or load("cached_environment").cached_environment(*MLFLOW)
    assert python is not None
    packages = next((python.parents[1] / "lib").glob("python*/site-packages"))
    base = server.database()
    create = (
        "import sys; from sqlalchemy import create_engine;"
        " from mlflow.store.tracking.dbmodels.initial_models import Base;"
        " Base.metadata.create_all(create_engine(sys.argv[1]))"
    )
    subprocess.run([python, "-c", create, base], check=True)

    def command(words: tuple[str, ...], url: str) -> Command:
        folder = Path(tempfile.gettempdir()) / f"lockgate-bench-{url.rpartition('/')[2]}"
        folder.mkdir(exist_ok=True)
        lines = ("[alembic]", f"script_location = {packages}/mlflow/store/db_migrations", f"sqlalchemy.url = {url}")
        (folder / "alembic.ini").write_text("\n".join(lines).replace("%", "%%"))
        return Command((str(python), *words), folder)

    return History(
        "mlflow",
        lambda url: command((*ALEMBIC, "upgrade", "head"), url),
        lambda url: command((*LOCKGATE, "migrate"), url),
        lambda url: command(("-P", "-c", PSYCOPG, server.plain(url)), url),
        lambda: server.database(template=base.rpartition("/")[2]),
    )


def prefect(server: Server) -> History:
    """Prefect: 118 revisions with 25 autocommit blocks, asyncpg, and an env.py that `alembic` itself cannot run.

    The plain side is the least that Prefect needs: its own function on AnyIO's worker thread, which calls
    alembic.command.upgrade(). `prefect server database upgrade` imports its whole command line on top of that.
    """
    python = load("cached_environment").cached_environment(*PREFECT)
    packages = next((python.parents[1] / "lib").glob("python*/site-packages"))
    variable = "PREFECT_API_DATABASE_CONNECTION_URL"
    own = (
        "import anyio; from prefect.server.database.alembic_commands import alembic_upgrade;"
        " anyio.run(anyio.to_thread.run_sync, alembic_upgrade)"
    )

    def command(words: tuple[str, ...], url: str) -> Command:
        environ = {
            variable: url,
            "PREFECT_HOME": tempfile.gettempdir() + "/lockgate-bench-prefect",
            "DO_NOT_TRACK": "1",
        }
        return Command((str(python), *words), packages / "prefect" / "server" / "database", environ)

    return History(
        "prefect",
        lambda url: command(("-P", "-c", own), url),
        lambda url: command((*LOCKGATE, "migrate", "--database-env", variable), url),
        lambda url: command(("-P", "-c", ASYNCPG, server.plain(url)), url),
        lambda: server.database("asyncpg"),
    )


def own(server: Server, folder: Path, **environ: str) -> History:
    """Return a project of ours, in this interpreter."""

    def command(words: tuple[str, ...], url: str) -> Command:
        return Command((sys.executable, *words), folder, {"DATABASE_URL": url, **environ})

    return History(
        folder.name,
        lambda url: command((*ALEMBIC, "upgrade", "heads"), url),
        lambda url: command((*LOCKGATE, "migrate"), url),
        lambda url: command(("-P", "-c", PSYCOPG, server.plain(url)), url),
        server.database,
    )


def many(server: Server, folder: Path, count: int, *, body: str = "", style: str = "sync") -> History:
    """Make a chain of revisions that each add a small table, or execute a ``body``, below an env.py of this style."""
    versions = folder / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        before = f"'n{number - 1}'" if number else "None"
        body_of = body or f"op.execute('CREATE TABLE t{number} (id bigint)')"
        names = f"revision, down_revision = 'n{number}', {before}"
        (versions / f"n{number}.py").write_text(f"from alembic import op\n{names}\n\n\ndef upgrade():\n    {body_of}\n")
    (folder / "alembic.ini").write_text(
        f"[alembic]\nscript_location = {PROJECTS / style / 'migrations'}\nversion_locations = {versions}\n"
    )
    return own(server, folder)
