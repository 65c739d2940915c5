# SPDX-License-Identifier: GPL-2.0-only
"""Options of the tests."""

import signal

FUZZ_SECONDS = 2.0


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz-seconds",
        type=float,
        default=FUZZ_SECONDS,
        metavar="N",
        help="How long each of tests/fuzz/test_hostile.py goes on; 2 unless told.",
    )


def pytest_configure(config):
    hear_signals()
    if config.pluginmanager.hasplugin("hypothesispytest"):
        choose_examples(config)


def choose_examples(config):
    """Have everybody's run try the same examples, and a long one new ones.

    What one run in a hundred finds is to be found by who looks for it, not by who changes a word.
    """
    from hypothesis import settings

    is_usual = config.getoption("--fuzz-seconds") <= FUZZ_SECONDS
    settings.register_profile("gretrace", derandomize=is_usual, deadline=None)
    settings.load_profile("gretrace")


def hear_signals():
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
