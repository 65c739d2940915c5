# SPDX-License-Identifier: GPL-2.0-only
"""A capture is explained as the packets themselves were when they came."""

import json
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest

from tests.frames import gre_packet, ipv4
from tests.lab.hosts import INNER_A, A, B, pair, tunnel_b
from tests.lab.session import PATIENCE, explain_drop, gretrace

# Nobody answers a greeting that nobody listens to, so the capture has just what was sent.
HELLO = ipv4(INNER_A, "224.0.0.5", 89, bytes(44), ttl=1)
GOOD = gre_packet(A, B, HELLO, key=1)
WRONG_KEY = gre_packet(A, B, HELLO, key=2)
HEARD, DROPPED = 3, 5
SAME = (
    "cause",
    "count",
    "family",
    "remote",
    "local",
    "key",
    "flags",
    "protocol",
    "inner",
    "tunnel",
)


@contextmanager
def captured(host, device, path):
    """Have tcpdump write what comes in on a device, until the block ends."""
    options = ("-Z", "root", "--immediate-mode", "-U", "-i", device, "-w", str(path))
    with host.start("tcpdump", *options, "ip proto 47", stderr=subprocess.PIPE) as tcpdump:
        tcpdump.hear(b"listening on")
        try:
            yield
        finally:
            tcpdump.send_signal(signal.SIGINT)
            tcpdump.wait()


def wait_for_packets(path, number):
    """Wait until a capture has as many packets, all of the same size."""
    record, link = 16, 14
    deadline = time.monotonic() + PATIENCE
    while path.stat().st_size < 24 + number * (record + link + len(GOOD)):
        assert time.monotonic() < deadline, path.stat().st_size
        time.sleep(0.05)


@pytest.mark.parametrize("device", ["vb", "any"])
def test_a_capture_gets_the_verdicts_that_the_live_command_gave(tmp_path, device):
    capture, tunnels = tmp_path / "capture.pcap", tmp_path / "tunnels.json"
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        with explain_drop(b) as live, captured(b, device, capture):
            a.send("va", GOOD, times=HEARD)
            a.send("va", WRONG_KEY, times=DROPPED)
            live.wait_for_packets(DROPPED)
            wait_for_packets(capture, HEARD + DROPPED)
            assert live.stop() == 3
        (told,) = live.reports
        tunnels.write_text(gretrace(b, "tunnels", "-o", "json").stdout)
        read = ("explain-drop", "-o", "json", "--read", str(capture))
        for options in ((), ("--tunnels", str(tunnels))):
            done = gretrace(b, *read, *options)
            assert done.exit_code == 3, done.stderr
            assert done.stderr == ""
            report = json.loads(done.stdout)
            assert {name: report[name] for name in SAME} == {name: told[name] for name in SAME}
            assert report["kernel"]["function"] == told["kernel"]["function"]
            assert report["netns"] == told["netns"]
            assert report["iif"] is None
        assert gretrace(b, *read, "--key", "1").exit_code == 0
