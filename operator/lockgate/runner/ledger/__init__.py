"""What of a revision is committed before it ends, and how another run goes on from there."""
