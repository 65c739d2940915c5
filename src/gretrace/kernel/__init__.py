"""The kernel as pure functions: its tunnel lookup, its receive path, its rulesets."""
