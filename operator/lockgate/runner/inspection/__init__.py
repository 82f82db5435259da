"""Commands that look at a database, or at who holds its lock, and run no migration."""
