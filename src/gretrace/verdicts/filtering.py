"""Rules and programs of the user's own that dropped the packet."""
