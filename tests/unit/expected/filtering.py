"""Cases of verdicts/filtering.py."""

EXPECTED = {}
