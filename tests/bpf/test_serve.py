# SPDX-License-Identifier: GPL-2.0-only
"""`serve` on the kernel that is running, which need have no GRE for that."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gretrace.host.namespaces import entered
from tests.bpf.native import GRETRACE
from tests.children import piped
from tests.frames import gre_packet
from tests.lab.hosts import A, B, pair
from tests.scraped import samples, scrape

if os.geteuid() != 0:
    pytest.skip("loading BPF programs needs root", allow_module_level=True)

PROMTOOL = shutil.which("promtool")


@contextmanager
def serving(host, *options):
    """Run it in a host; inside the block it is ready."""
    host.ip("link set lo up")
    with entered(host.namespace):
        process = piped([GRETRACE, "serve", *options], bufsize=0)
    with process:
        process.hear(b"ready")
        yield process


def drops(found):
    return sum(value for series, value in found.items() if series[0] == "gretrace_drops_total")


def wait_for_drops(host, count):
    deadline = time.monotonic() + 30
    while drops(found := samples(scrape(host))) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def test_a_scan_is_counted_exactly_and_makes_no_series():
    with pair() as (a, b), serving(b, "--capacity", "4096") as process:
        a.send("va", gre_packet(A, B, key=1), times=3)
        before = wait_for_drops(b, 3)
        send = a.sender("va")
        for key in range(20_000):
            send(gre_packet(A, B, key=key))
        lost = ("gretrace_unexplained_drops_total",)
        deadline = time.monotonic() + 60
        while drops(found := samples(scrape(b))) + found[lost] < 20_003:
            assert time.monotonic() < deadline, found
            time.sleep(0.2)
        assert drops(found) + found[lost] == 20_003
        assert found["gretrace_unseen_drops_total",] == 0
        assert found.keys() == before.keys()
        process.terminate()
        assert process.wait() == 0


def test_it_reads_the_kernel_once_a_second_whoever_asks():
    with pair() as (_, b), serving(b):
        looked = ("gretrace_exposition_timestamp_seconds",)
        began = time.monotonic()
        seen = {samples(scrape(b))[looked] for _ in range(40)}
        assert len(seen) <= 2 + (time.monotonic() - began)


def test_a_file_alone_is_written_without_listening_and_taken_away(tmp_path):
    path = tmp_path / "gretrace.prom"
    with pair() as (_, b), serving(b, "--textfile", path) as process:
        deadline = time.monotonic() + 30
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert ("gretrace_unseen_drops_total",) in samples(path.read_text())
        with pytest.raises(ConnectionRefusedError):
            scrape(b)
        process.terminate()
        assert process.wait() == 0
        assert not list(tmp_path.iterdir())


def test_what_a_scrape_gives_is_closed_again():
    with pair() as (_, b), serving(b) as process:
        scrape(b)
        fds = Path(f"/proc/{process.pid}/fd")
        before = len(list(fds.iterdir()))
        for _ in range(30):
            scrape(b)
        deadline = time.monotonic() + 10
        while len(list(fds.iterdir())) > before:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed (Debian's prometheus)")
def test_promtool_has_nothing_to_say():
    with pair() as (a, b), serving(b):
        a.send("va", gre_packet(A, B, key=1), times=3)
        wait_for_drops(b, 3)
        told = subprocess.run(
            [PROMTOOL, "check", "metrics"], input=scrape(b), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert (told.returncode, told.stdout + told.stderr) == (0, "")


def test_a_drop_is_a_record_of_the_journal_and_the_manager_hears(tmp_path):
    with ExitStack() as stack:
        told, record = (
            stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) for _ in range(2)
        )
        told.bind(str(tmp_path / "notify"))
        told.settimeout(30)
        record.settimeout(30)
        a, b = stack.enter_context(pair())
        # Its own /run, where it finds a journal that is ours.
        (tmp_path / "journal").mkdir()
        record.bind(str(tmp_path / "journal/socket"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        mounted = (
            "mount -t tmpfs run /run/systemd 2>/dev/null || { mkdir -p /run/systemd; "
            "mount -t tmpfs run /run/systemd; }; mkdir /run/systemd/journal; "
            'mount --bind "$0" /run/systemd/journal; exec "$@"'
        )
        command = ["unshare", "--mount", "sh", "-euc", mounted, tmp_path / "journal", GRETRACE]
        with entered(b.namespace):
            process = piped(
                [*command, "serve", "--journal"], bufsize=0, env=os.environ | environment
            )
        with process:
            process.hear(b"ready")
            assert told.recv(100) == b"READY=1"
            assert told.recv(100) == b"WATCHDOG=1"
            a.send("va", gre_packet(A, B, key=1), times=3)
            fields = record.recv(1 << 16)
            assert f"GRETRACE_REMOTE={A}\n".encode() in fields
            assert b"GRETRACE_EVENT=begun\n" in fields
            process.terminate()
            assert process.wait() == 0
            while (last := told.recv(100)) == b"WATCHDOG=1":
                pass
            assert last == b"STOPPING=1"


def test_a_reload_keeps_the_counts_and_a_mistake_changes_nothing(tmp_path):
    config, path = tmp_path / "gretrace.toml", tmp_path / "gretrace.prom"
    config.write_text('listen = "127.0.0.1:9947"\n')
    with pair() as (a, b), serving(b, "--config", config) as process:
        a.send("va", gre_packet(A, B, key=1), times=3)
        wait_for_drops(b, 3)
        config.write_text("nonsense = 1\n")
        process.send_signal(signal.SIGHUP)
        assert b"'nonsense' is no option" in process.hear(b"reload")
        config.write_text(f'listen = "127.0.0.1:9947"\ntextfile = "{path}"\n')
        process.send_signal(signal.SIGHUP)
        process.hear(b"reloaded")
        a.send("va", gre_packet(A, B, key=1), times=4)
        wait_for_drops(b, 7)
        assert path.exists()
        process.terminate()
        assert process.wait() == 0
