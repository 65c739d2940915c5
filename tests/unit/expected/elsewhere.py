"""Cases of verdicts/elsewhere.py."""

EXPECTED = {}
