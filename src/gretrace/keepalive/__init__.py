"""Answering keepalives: the responder, the trial that chooses its hook, and staying with it."""
