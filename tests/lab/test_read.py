# SPDX-License-Identifier: GPL-2.0-only
"""A capture is explained as the packets themselves were when they came."""

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from tests.captures import FROM_US, SECOND, SLL, pcap, sll
from tests.frames import gre, gre_packet, ipv4
from tests.lab.hosts import INNER_A, INNER_B, A, B, pair, run, tunnel_a, tunnel_b
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
def captured(host, device, path, expression="ip proto 47"):
    """Have tcpdump write what comes in on a device, until the block ends."""
    options = ("-Z", "root", "--immediate-mode", "-U", "-i", device, "-w", str(path))
    with host.start("tcpdump", *options, expression, stderr=subprocess.PIPE) as tcpdump:
        tcpdump.hear(b"listening on")
        try:
            yield
        finally:
            tcpdump.send_signal(signal.SIGINT)
            tcpdump.wait()


def packets_in(path):
    """How many packets a capture has by now (pcap-savefile(5))."""
    data, place, number = path.read_bytes(), 24, 0
    while place + 16 <= len(data):
        place += 16 + int.from_bytes(data[place + 8 : place + 12], sys.byteorder)
        number += place <= len(data)
    return number


def wait_for_packets(path, number):
    """Wait until a capture has as many packets."""
    deadline = time.monotonic() + PATIENCE
    while packets_in(path) < number:
        assert time.monotonic() < deadline, packets_in(path)
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


OUTSIDE, INSIDE = (ipv4(*ends, 1, bytes(8)) for ends in ((B, A), (INNER_B, INNER_A)))
OPENBSD = ipv4(B, A, 47, gre(bytes(range(16)), protocol=0), ttl=255)
PROBES = {
    "a keepalive of OpenBSD's": ("keepalive-unanswered", OPENBSD),
    "a health check of Cloudflare's, outside": ("health-check-unanswered", OUTSIDE),
    "a health check of Cloudflare's, inside": ("health-check-unanswered", INSIDE),
}


@pytest.mark.parametrize(("cause", "carried"), PROBES.values(), ids=PROBES)
def test_probes_of_other_makers_are_read_as_the_kernel_treats_them(tmp_path, cause, carried):
    """In a capture they are unanswered once the time for an answer has passed."""
    probe, capture = gre_packet(A, B, carried), tmp_path / "capture.pcap"
    # Were nothing of B's own seen, an answer might have been missed as well.
    frames = [sll(probe)] * 3 + [sll(gre_packet(B, A, HELLO), FROM_US)] * 4
    capture.write_bytes(pcap(*((n * SECOND, one) for n, one in enumerate(frames)), link=SLL))
    with pair() as (a, b):
        tunnel_b(b)
        with explain_drop(b) as session:
            a.send("va", probe, times=3)
            session.wait_for_packets(3)
            assert session.stop() == 3
        (told,) = session.reports
        done = gretrace(b, "explain-drop", "-o", "json", "--read", str(capture))
        (report,) = done.records
    for said in (told, report):
        assert (said["cause"], said["count"], said["tunnel"]) == (cause, 3, "gre1")
    assert report["fix"] == told["fix"]


IN_UDP = "encap {} encap-sport auto encap-dport 5555"


@pytest.mark.parametrize("attributes", ["csum", IN_UDP.format("fou"), IN_UDP.format("gue")])
def test_what_a_real_tunnel_sends_is_read_for_what_it_is(tmp_path, attributes):
    """A sum that the card was to fill in is empty; GRE in UDP is found by the tunnel's port."""
    capture = tmp_path / "capture.pcap"
    with pair() as (a, b):
        if "encap" in attributes:
            run("modprobe", "fou")
            kind = "gue" if "gue" in attributes else "ipproto 47"
            for host in (a, b):
                host.ip(f"fou add port 5555 {kind}")
        tunnel_a(a, f"key 2 {attributes}")
        tunnel_b(b, f"key 1 {attributes}")
        with captured(b, "vb", capture, "src 20.1.1.2 and (ip proto 47 or udp)"):
            a.send_pings(INNER_B, 3)
            wait_for_packets(capture, 3)
        done = gretrace(b, "explain-drop", "-o", "json", "--read", str(capture))
        assert done.exit_code == 3, done.stderr
        report = json.loads(done.stdout)
        assert (report["cause"], report["count"]) == ("key-mismatch", 3)
        assert (report["tunnel"], report["key"]) == ("gre1", 2)
