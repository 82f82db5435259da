"""A schema that exists without a version table: whether it is the schema of a revision."""
