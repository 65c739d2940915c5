"""Cases of verdicts/delivery.py."""

EXPECTED = {}
