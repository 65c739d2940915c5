"""`explain-drop` as a use case: live, and from a capture."""
