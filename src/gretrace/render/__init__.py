"""Reports to text and to JSON, both from the same object."""
