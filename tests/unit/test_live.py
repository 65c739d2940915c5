import os
import signal
import threading
import time

from gretrace.live import Watch


class Pipe:
    def __init__(self):
        self.read, self.write = os.pipe()

    def fileno(self):
        return self.read


def test_a_bell_wakes_and_is_named():
    pipe = Pipe()
    with Watch() as watch:
        assert watch.wait([pipe], 0) == set()
        os.write(pipe.write, b"x")
        assert watch.wait([pipe], 5) == {pipe.read}
        assert not watch.stopped
    os.close(pipe.read)
    os.close(pipe.write)


def test_signals_stop_it_even_while_it_waits():
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        with Watch() as watch:
            threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
            begin = time.monotonic()
            watch.wait([], 30)
            assert time.monotonic() - begin < 10
            assert watch.stopped
        assert signal.getsignal(number) is before


def test_a_duration_ends_by_itself():
    with Watch(0.05) as watch:
        assert not watch.stopped
        begin = time.monotonic()
        watch.wait([], 30)
        assert time.monotonic() - begin < 10
        assert watch.stopped
