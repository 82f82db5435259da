"""Runs `alembic upgrade heads` or `lockgate migrate` many times: everything is imported once, then each is a fork.

Started as a program. Reads a JSON list of runs, ``[program, folder, environment]`` each, runs them one after the other,
and writes a JSON list of ``[exit code, output]``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable

import psycopg  # noqa: F401  # what a run imports
import sqlalchemy.dialects.postgresql.asyncpg
import sqlalchemy.dialects.postgresql.psycopg
import sqlalchemy.ext.asyncio
import sqlalchemy.orm  # noqa: F401
from alembic.config import main as alembic

from lockgate.runner.command_line import main as lockgate

PROGRAMS: dict[str, tuple[Callable[..., object], list[str]]] = {
    "alembic": (alembic, ["upgrade", "heads"]),
    "lockgate": (lockgate, ["migrate"]),
}


def _run(program: str, folder: str, environment: dict[str, str]) -> tuple[int, str]:
    with tempfile.TemporaryFile("w+") as output:
        pid = os.fork()
        if pid == 0:
            _become(program, folder, environment, output.fileno())
        _, status = os.waitpid(pid, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read()


def _become(program: str, folder: str, environment: dict[str, str], output: int) -> None:
    code = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(environment)
        os.chdir(folder)
        main, arguments = PROGRAMS[program]
        main(arguments)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    json.dump([_run(*run) for run in json.load(sys.stdin)], sys.stdout)
