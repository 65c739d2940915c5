"""Cases of verdicts/sending.py."""

EXPECTED = {}
