"""Cases of verdicts/refused.py."""

EXPECTED = {}
