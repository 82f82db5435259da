"""Lockgate's own tables in the target database: the schema ``lockgate``."""
