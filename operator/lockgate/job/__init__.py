"""Builds the migration Job. Pure."""
