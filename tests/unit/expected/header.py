"""Cases of verdicts/header.py."""

EXPECTED = {}
