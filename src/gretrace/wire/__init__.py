"""Bytes: packets, keys, checksums. Pure."""
