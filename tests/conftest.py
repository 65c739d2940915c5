# SPDX-License-Identifier: GPL-2.0-only
"""Options of the tests."""

import signal


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz-seconds",
        type=float,
        default=2.0,
        metavar="N",
        help="How long each of tests/fuzz/test_hostile.py goes on; 2 unless told.",
    )


def pytest_configure():
    """Let commands under test hear SIGINT.

    A shell starts what it runs in the background with SIGINT ignored, and who ignores a signal
    passes that on to every program that it starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
