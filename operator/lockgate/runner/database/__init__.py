"""Sessions of Lockgate's own, locks, errors, and what differs from one kind of database to another."""
