"""What a session may do with Lockgate's own tables, as SQL that never raises. Pure."""

from __future__ import annotations

__all__ = ["MAY_CREATE", "MAY_KEEP", "MAY_KEEP_IMAGES", "MAY_KEEP_PROJECTS", "MAY_WRITE", "may_read"]


def _may(table: str, *privileges: str) -> str:
    """Return the SQL; functions alone, without a join: it is planned anew before each commit of a revision."""
    # to_regclass() raises without the right to look into the schema, to_regnamespace() never.
    granted = " AND ".join(f"has_table_privilege(to_regclass('lockgate.{table}'), '{right}')" for right in privileges)
    return f"coalesce(CASE WHEN has_schema_privilege(to_regnamespace('lockgate'), 'USAGE') THEN {granted} END, false)"


def may_read(table: str) -> str:
    """Return SQL that says whether a table of ours is there and may be read; to_regclass() could only raise."""
    return _may(table, "SELECT")


MAY_WRITE = _may("history", "SELECT", "INSERT")
"""SQL: whether this session may write history."""

MAY_KEEP = _may("statements", "SELECT", "INSERT", "UPDATE", "DELETE")
"""SQL: whether this session may keep statements."""

MAY_KEEP_IMAGES = _may("images", "SELECT", "INSERT", "UPDATE", "DELETE")
"""SQL: whether this session may record images."""

MAY_CREATE = (
    "coalesce((SELECT has_schema_privilege(n.oid, 'CREATE') FROM pg_catalog.pg_namespace n"
    " WHERE n.nspname = 'lockgate'), false)"
)
"""SQL: whether this session may make tables in the schema lockgate; false where there is none."""

MAY_KEEP_PROJECTS = _may("projects", "SELECT", "INSERT", "UPDATE", "DELETE")
"""SQL: whether this session may keep what runs found out about projects."""
