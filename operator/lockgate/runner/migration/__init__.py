"""A run, from the first connection to the last check."""
