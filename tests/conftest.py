"""Options of the tests."""


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz-seconds",
        type=float,
        default=2.0,
        metavar="N",
        help="How long each of tests/fuzz/test_hostile.py goes on; 2 unless told.",
    )
