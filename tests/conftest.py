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
    """Let commands under test hear signals.

    A shell starts what it runs in the background with SIGINT ignored, nohup(1) ignores SIGHUP, and
    who ignores or blocks a signal passes that on to every program that it starts.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGTERM, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
