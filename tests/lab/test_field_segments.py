# SPDX-License-Identifier: GPL-2.0-only
"""TCP through a tunnel: which direction has its segments clamped, and the rule that serves both."""

import time
from contextlib import contextmanager

from tests.frames import gre_packet, ipv4
from tests.lab.hosts import A, B, hosts, run, tunnel_b, wire
from tests.lab.session import gretrace
from tests.lab.test_respond import listen

LAN_C, LAN_B, FAR = "10.20.0.9", "10.20.0.1", "10.30.0.9"
ANNOUNCED, FITS = 1460, 1436
OPTION = bytes.fromhex("0204")
SYN = bytes.fromhex("1389 0050 00000001 00000000 6002 ffff 0000 0000") + OPTION
TCP = 6


def syn(source, destination):
    return ipv4(source, destination, TCP, SYN + ANNOUNCED.to_bytes(2, "big"))


@contextmanager
def routed():
    """C's network, B who forwards between it and gre1, and A, behind whom is another."""
    with hosts("a", "b", "c") as (a, b, c):
        wire(a, "va", f"{A}/24", b, "vb", f"{B}/24")
        wire(c, "vc", f"{LAN_C}/24", b, "lan0", f"{LAN_B}/24")
        tunnel_b(b)
        b.ip(f"route add {FAR}/32 dev gre1")
        b.sysctl("net.ipv4.ip_forward=1")
        # So that the first packet need not wait for a neighbour.
        assert b.ping(LAN_C)
        assert b.ping(A)
        yield a, b, c


def announced(host, device, send):
    """What the SYN that arrives on a device announces."""
    with listen(host, device) as heard:
        send()
        end = time.monotonic() + 10
        while time.monotonic() < end:
            frame = heard.recv(4096)
            if SYN[:8] in frame and OPTION in frame:
                at = frame.index(SYN[:8]) + len(SYN)
                return int.from_bytes(frame[at : at + 2], "big")
    return None


def both_ways(a, c):
    """What is announced into the tunnel, and out of it."""
    return (
        announced(a, "va", lambda: c.send("vc", syn(LAN_C, FAR))),
        announced(c, "vc", lambda: a.send("va", gre_packet(A, B, syn(FAR, LAN_C)))),
    )


def checked(host):
    done = gretrace(host, "check", "-o", "json")
    return next(r for r in done.records if r["check"] == "TCP through gre1")


def forward(rule):
    hook = "type filter hook forward priority mangle"
    return f"table inet own {{\nchain c {{\n{hook}\n{rule}\n}}\n}}\n"


def test_one_rule_serves_both_directions():
    with routed() as (a, b, c):
        assert both_ways(a, c) == (ANNOUNCED, ANNOUNCED)
        said = checked(b)
        assert said["state"] == "absent"
        for words in ("forwarded into gre1", "comes out of gre1"):
            assert words in said["found"]
        b.shell(said["remedy"])
        assert both_ways(a, c) == (FITS, FITS)
        assert checked(b)["state"] == "ok"
        tables = b.run("nft", "list", "tables").stdout.splitlines()
        assert tables == ["table inet gretrace"]


def test_the_direction_that_is_missing_is_named():
    with routed() as (a, b, c):
        rule = "oifname gre1 tcp flags syn tcp option maxseg size set 1436"
        run("ip", "netns", "exec", b.name, "nft", "-f", "-", stdin=forward(rule))
        assert both_ways(a, c) == (FITS, ANNOUNCED)
        said = checked(b)
        assert "comes out of gre1" in said["found"]
        assert "into gre1" not in said["found"]
        b.shell(said["remedy"])
        assert both_ways(a, c) == (FITS, FITS)
        assert checked(b)["state"] == "ok"


def test_answers_that_leave_beside_the_tunnel():
    with routed() as (a, b, c):
        rule = "tcp flags syn tcp option maxseg size set rt mtu"
        run("ip", "netns", "exec", b.name, "nft", "-f", "-", stdin=forward(rule))
        # A's hosts are reached by the WAN, and what they send comes by the tunnel alone.
        b.ip(f"route replace {FAR}/32 via {A} dev vb")
        b.sysctl("net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.gre1.rp_filter=0")
        a.send("va", gre_packet(A, B, syn(FAR, LAN_C)))
        answer = announced(a, "va", lambda: c.send("vc", syn(LAN_C, FAR)))
        assert answer == ANNOUNCED
        said = checked(b)
        assert "in answers that leave by vb" in said["found"]
        assert "comes out of" not in said["found"]
        b.shell(said["remedy"])
        assert announced(a, "va", lambda: c.send("vc", syn(LAN_C, FAR))) == FITS
        assert checked(b)["state"] == "ok"
