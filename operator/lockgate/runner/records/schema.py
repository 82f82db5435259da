"""The schema ``lockgate`` in the target database, with its tables; one module for each says what it holds.

A role that may not create the schema gets a warning in its reports, and does without.
"""

from __future__ import annotations

from lockgate.runner.database.connection import OwnConnection, database_error
from lockgate.runner.database.privileges import MAY_WRITE, may_read
from lockgate.runner.records import history, images, projects, satisfied, statements, unverified

__all__ = ["OTHER_ROLE", "ensure"]

NO_SCHEMA = (
    "No right to create the schema lockgate in this database: no history, no fast path; a database that is ahead"
    " of an older image, or was left in the middle of a revision, is not recognised. Once, as a role that may:"
    " CREATE SCHEMA lockgate AUTHORIZATION {role}"
)
"""``role``: the one that migrates, quoted as SQL needs it."""

OTHER_ROLE = (
    "No history of this run: env.py works as a role, or in a database, without the right to write lockgate.history."
    " Grant it USAGE on the schema lockgate, and SELECT and INSERT on its table history."
)

NOT_KEPT = "no audit trail, no fast path, and a database that is ahead of an older image is refused."

PUBLISHED = (
    "No history and no fast path: the publication {name} publishes all tables, and its subscribers stop at the first"
    " row of a table that they lack. To keep a history, make the schema lockgate with its tables there, and"
    " CREATE SCHEMA lockgate AUTHORIZATION {role} here."
)
"""A schema that somebody has made here is used."""

_PUBLICATION = "SELECT min(pubname), quote_ident(current_user) FROM pg_catalog.pg_publication WHERE puballtables"

NAMESAKE = (
    "No history and no fast path: the role is called lockgate, and a schema of that name would come first in its"
    " search_path, so that the application's tables would land there. Use a role of another name."
)


def ensure(connection: OwnConnection) -> str:
    """Create the schema where it is missing; return a warning where that is not allowed, else nothing."""
    if not connection.backend.keeps_history:
        return f"No history on {connection.backend.spoken}: {NOT_KEPT}"
    tables = " AND ".join(may_read(table) for table in ("unverified", "statements", "images", "projects"))
    if connection.value(f"SELECT {MAY_WRITE} AND {tables} AND {satisfied.IS_CURRENT}"):
        return ""
    objection = _objection(connection)
    if objection:
        return objection
    is_there = "SELECT to_regnamespace('lockgate') IS NOT NULL"
    try:
        if not connection.value(is_there):  # IF NOT EXISTS asks for the right to create it also where it is there
            connection.rows("CREATE SCHEMA IF NOT EXISTS lockgate")
        made = (history.TABLE, satisfied.TABLE, satisfied.UPGRADE, unverified.TABLE, statements.TABLE, images.TABLE)
        for table in (*made, projects.TABLE):
            connection.rows(table)
    except database_error():
        # Two who create it at once meet in a unique index of the catalogue: whoever lost finds it made.
        if not connection.value(f"SELECT {MAY_WRITE}"):
            if connection.value(is_there):
                return OTHER_ROLE
            return NO_SCHEMA.format(role=connection.value("SELECT quote_ident(current_user)"))
    return ""


def _objection(connection: OwnConnection) -> str:
    """Return why the schema is not made although this role may have the right to, or nothing."""
    if connection.value("SELECT current_user = 'lockgate'"):
        return NAMESAKE
    if connection.value("SELECT to_regnamespace('lockgate') IS NOT NULL"):
        return ""
    name, role = connection.rows(_PUBLICATION)[0]
    return PUBLISHED.format(name=name, role=role) if name is not None else ""
