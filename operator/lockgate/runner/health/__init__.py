"""The health checks after a migration: what asks the database, a program, a URL or the models."""
