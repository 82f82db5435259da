"""What a session may do with Lockgate's own tables, as SQL that never raises. Pure."""

from __future__ import annotations

__all__ = ["MAY_CREATE", "MAY_KEEP", "MAY_KEEP_IMAGES", "MAY_WRITE", "may_read"]


def _may(table: str, *privileges: str) -> str:
    granted = " AND ".join(f"has_table_privilege(c.oid, '{privilege}')" for privilege in privileges)
    return (
        f"coalesce((SELECT has_schema_privilege(n.oid, 'USAGE') AND {granted} FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE n.nspname = 'lockgate' AND c.relname = '{table}'), false)"
    )


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
