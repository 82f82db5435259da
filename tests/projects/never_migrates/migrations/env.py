"""Forgets to run anything."""
