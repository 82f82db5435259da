"""The text of SQL: where its literals, names and comments begin and end, and what may be shown of it. Pure."""
