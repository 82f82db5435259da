"""Lockgate: Alembic migrations on Kubernetes, behind one lock and one gate."""

__version__ = "0.1.0"
