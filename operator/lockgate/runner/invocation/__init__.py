"""What a command was told: flags, variables, pyproject.toml, and its help. One table of options."""
