"""What one resource needs next, and what its status says. Pure: no I/O, no clock."""
