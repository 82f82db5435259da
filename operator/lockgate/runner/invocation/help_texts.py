"""What `lockgate --help` says of each command, and of the exit codes."""

from __future__ import annotations

__all__ = ["DESCRIPTIONS", "EXAMPLES", "EXIT_CODES", "GENERAL", "OF_ALEMBIC", "SOURCES"]

GENERAL = """\
Applies Alembic migrations: one process at a time, with bounded lock waits and a clear report. env.py stays as it is.

  lockgate plan      see what would be applied
  lockgate migrate   apply it, as `alembic upgrade heads` would

`lockgate COMMAND --help` explains a command, its flags and their variables.
"""

SOURCES = """\
In brackets: the variable that says the same, and the key of [tool.lockgate] in pyproject.toml. The flag wins over the
variable, the variable over the file. Durations are written like 500ms, 30s, 15m or 1h30m.
"""

EXIT_CODES = """\
exit codes:
  0  done, or nothing to do
 10  another process migrates, longer than we may wait          try again
 11  the database cannot be reached, or is a standby            try again
 12  the database is busy; `wait`: the schema is not there yet  try again
 20  a revision, or env.py, failed
 21  configuration or revision graph
 22  refused by a policy
 23  migrated, but a health check failed
 30  interrupted (SIGTERM, Ctrl-C); what was not committed is rolled back
"""

_MIGRATE = """\
Does what `alembic upgrade heads` does, with env.py as it is, and safely when started many times at once: one process
migrates, the others wait and find nothing left to do. Each revision has a transaction of its own; a statement that does
not get its lock soon gives way and the revision is tried again, so that the application never queues behind it.
"""

_WAIT = """\
Asks the database, and nothing else, until every revision that this image needs is applied: for an init container.
"""

_STATUS = """\
Says where the database is: the rows of its version table, the target, how many revisions are pending, whether it is
ahead of this image, and who holds the migration lock now. Takes no lock, runs no env.py, changes nothing.
"""

_PLAN = """\
Lists the revisions that `lockgate migrate` would apply, in order, with their SQL where Alembic can render it without a
database (`alembic upgrade --sql`), and says of each other revision why not. env.py runs; whatever it connects to is
read-only to it, and nothing is changed. SQL that rests on what a revision reads from the database cannot be foreseen.
"""

_HISTORY = """\
Shows what was applied to this database, when, by whom and from which image: lockgate.history, the newest first.
"""

_CHECK = """\
Runs the health checks without migrating: `revision` (nothing is pending), `indexes` (no index is invalid) and those
of --checks. What they ask of the database, they ask in read-only sessions. Ends with 23 where one fails.
"""

_BASELINE = """\
Adopts a schema that exists without a version: made by init scripts or by create_all. Writes the revision into the
version table when that is empty or missing, and all tables and columns of that revision are there. It learns which
those are by following the revision files in Alembic's offline mode. Where some are missing, it names them and writes
nothing.
"""

_DOWNGRADE = """\
Takes the database back to a revision, as `alembic downgrade` would, with the locks, time-outs, retries and reports of
`lockgate migrate`. Revisions that this image does not contain are taken back from the source that lockgate.history
keeps. First it says what will be undone, and what cannot be; if anything cannot, nothing is done. What the revisions
added is lost with them, so without `--downgrade Allow` it only says what it would do.
"""

_UNLOCK = """\
Shows who holds the migration lock, and ends that session: for a run whose process is gone while its session is still
there. Only the session that was shown is ended, and only while it still holds the lock. The work that it had not
committed is rolled back. A run that is alive notices, and begins again: stop its pod or its process first.
"""

_COMPLETION = """\
Prints a script that completes commands, flags and their choices in bash, zsh or fish. Its first lines say where to load
it.
"""

DESCRIPTIONS = {
    "migrate": ("bring the database to the target", _MIGRATE),
    "wait": ("wait until the database has what this image needs", _WAIT),
    "status": ("say where the database is and who holds the lock", _STATUS),
    "plan": ("list what is pending, with its SQL, and change nothing", _PLAN),
    "history": ("show what was applied, when and by whom", _HISTORY),
    "check": ("run the health checks", _CHECK),
    "baseline": ("take a schema that has no version for a revision", _BASELINE),
    "downgrade": ("take the database back to a revision", _DOWNGRADE),
    "unlock": ("end the session that holds the lock", _UNLOCK),
    "completion": ("print a script that completes words in your shell", _COMPLETION),
}
"""For each command a line and a paragraph."""

_AS_EVER = "That is Alembic's own, and works as ever: `alembic {}`. Lockgate applies what it makes."
OF_ALEMBIC = {
    "upgrade": "`lockgate migrate` does what `alembic upgrade heads` does.",
    "current": "`lockgate status` says where the database is.",
    "stamp": "`lockgate baseline REVISION` stamps a schema that is there, once it has seen its tables.",
    **{name: _AS_EVER.format(name) for name in ("revision", "merge", "heads", "branches", "show", "edit", "init")},
}
"""Commands of Alembic that people try here, and what to type instead."""

EXAMPLES = {
    "migrate": """\
lockgate migrate
lockgate migrate --target expand@head --ddl-lock-timeout 200ms
lockgate migrate --config services/shop/alembic.ini --args '{"tenant": "a"}'
LOCKGATE_OUTPUT=json lockgate migrate
""",
    "wait": """\
lockgate wait --timeout 1h
lockgate wait --revision 8a1c2d3e4f50
""",
    "status": """\
lockgate status
lockgate status --output json | jq .status.pending
""",
    "plan": """\
lockgate plan
lockgate plan --target 8a1c2d3e4f50
""",
    "history": """\
lockgate history --limit 5
""",
    "check": """\
lockgate check
lockgate check --checks '[{"exists": {"tables": ["orders"]}}]'
""",
    "baseline": """\
lockgate baseline 8a1c2d3e4f50
lockgate baseline 8a1c2d3e4f50 --baseline-tables orders,audit.events
""",
    "downgrade": """\
lockgate downgrade 8a1c2d3e4f50
lockgate downgrade 8a1c2d3e4f50 --downgrade Allow
lockgate downgrade expand@base --output json
""",
    "unlock": """\
lockgate unlock
lockgate unlock --yes
""",
    "completion": """\
source <(lockgate completion bash)
lockgate completion fish | source
""",
}
"""For each command what one types."""
