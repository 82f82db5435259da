"""Keeps the operator running: settings, watch, queue, Lease, health, figures."""
