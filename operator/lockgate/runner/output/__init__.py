"""What a run says, while it works and at its end, to people and to the operator."""
