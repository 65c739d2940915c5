# SPDX-License-Identifier: GPL-2.0-only
"""What the host does not believe, does not forward or does not answer; and how that is mended."""

import shlex

import pytest

from tests.frames import gre_packet, ipv4
from tests.lab.broken import (
    FAR,
    FAR6,
    SENT,
    STRANGER,
    Fault,
    break_and_mend,
    inside,
    inside6,
    with_ipv6,
)
from tests.lab.bystander import beside
from tests.lab.hosts import INNER_A, INNER_B, A, B, pair, tunnel, tunnel_b
from tests.lab.session import explain_drop, gretrace
from tests.lab.test_respond import A6, B6, Kind, hear, listen
from tests.lab.test_respond import with_ipv6 as wire_ipv6

RECEIVE, ERROR = ("ip_rcv_finish_core",), ("ip_error",)
DISCARD6 = ("ip6_pkt_drop", "ip6_pkt_discard", "ip6_pkt_prohibit")
OWN, OTHER_A = "20.1.1.9", "20.1.1.3"


def setting(name, value):
    return lambda b: b.sysctl(f"net.ipv4.conf.{name}={value}")


def both(*steps):
    def do(b):
        for step in steps:
            step(b)

    return do


def ip(*lines):
    return lambda b: b.ip(*lines)


def forwarding(b):
    b.sysctl("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")


def follow(command):
    """Do by hand what the note says."""
    return lambda b, _shown: b.shell(command)


def into_tunnel(b):
    """A second tunnel, which takes less than the first one brings."""
    tunnel(b, f"local {B} remote {OTHER_A}", name="gre2")
    b.sysctl("net.ipv6.conf.gre2.disable_ipv6=0")
    b.ip("link set dev gre2 mtu 1300", "route add fd30::/64 dev gre2")


def marked(size, protocol=17):
    """A packet of A's that must not be fragmented, to the network behind B."""
    return gre_packet(A, B, ipv4(INNER_A, FAR, protocol, bytes(size), fragment=0x4000))


STRAY = ip(f"route add {STRANGER} dev lan0")
NO_ADDRESS = ip(f"addr del {INNER_B}/30 dev gre1")
PEER_ELSEWHERE = ip(f"route add {A} dev lan0")
FAR_PEER = ip(f"link change gre1 type gre local {B} remote {STRANGER} ttl 255")
LOCAL_PEER = ip(
    f"addr add {OWN}/32 dev vb", f"link change gre1 type gre local {B} remote {OWN} ttl 255"
)

FAULTS = {
    "rp-filter": Fault(
        "rp-filter",
        both(STRAY, setting("gre1.rp_filter", 1)),
        inside(STRANGER),
        RECEIVE,
        words=(f"come from {STRANGER}", "sends by lan0, not by gre1"),
        evidence=("all.rp_filter is 0 and net.ipv4.conf.gre1.rp_filter is 1: the greater",),
        command="sysctl -w net.ipv4.conf.gre1.rp_filter=2",
    ),
    "rp-filter, of all devices": Fault(
        "rp-filter",
        both(STRAY, setting("all.rp_filter", 1)),
        inside(STRANGER),
        RECEIVE,
        evidence=("the greater one counts, 1 (strict)",),
        command="sysctl -w net.ipv4.conf.gre1.rp_filter=2",
    ),
    "rp-filter, no way back": Fault(
        "rp-filter",
        setting("all.rp_filter", 2),
        inside(STRANGER),
        RECEIVE,
        words=("no route",),
        evidence=("counts, 2 (loose)",),
        command=f"ip route replace {STRANGER}/32 dev gre1",
    ),
    "rp-filter, a tunnel without an address": Fault(
        "rp-filter",
        both(STRAY, NO_ADDRESS, setting("all.rp_filter", 1), setting("gre1.rp_filter", 1)),
        inside(STRANGER, B),
        RECEIVE,
        command="sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.gre1.rp_filter=0",
    ),
    "rp-filter-outer": Fault(
        "rp-filter-outer",
        both(PEER_ELSEWHERE, setting("vb.rp_filter", 1)),
        function=RECEIVE,
        iif="vb",
        words=("arrive on vb", f"come from {A}", "by lan0, not by vb"),
        command="sysctl -w net.ipv4.conf.vb.rp_filter=2",
    ),
    "rp-filter-outer, no way back": Fault(
        "rp-filter-outer",
        both(FAR_PEER, setting("all.rp_filter", 1)),
        gre_packet(STRANGER, B, inside()[24:]),
        RECEIVE,
        iif="vb",
        remote=STRANGER,
        words=("no route",),
        command=f"ip route replace {STRANGER}/32 dev vb",
    ),
    "martian-destination": Fault(
        "martian-destination",
        packet=inside(destination="127.0.0.1"),
        function=RECEIVE,
        words=("127.0.0.1", "every host has for itself"),
        where="peer",
    ),
    "martian-destination, class E": Fault(
        "martian-destination",
        packet=inside(destination="240.0.0.1"),
        function=ERROR,
        words=("240.0.0.1", "reserved"),
        where="peer",
    ),
    "martian-source": Fault(
        "martian-source",
        setting("all.rp_filter", 1),
        inside(INNER_B),
        RECEIVE,
        words=(f"come from {INNER_B}, which is an address of this host",),
        command=("sysctl -w net.ipv4.conf.gre1.accept_local=1 net.ipv4.conf.all.rp_filter=0"),
    ),
    "martian-source, outer": Fault(
        "martian-source",
        LOCAL_PEER,
        gre_packet(OWN, B, inside()[24:]),
        RECEIVE,
        iif="vb",
        remote=OWN,
        words=("arrive on vb",),
        command="sysctl -w net.ipv4.conf.vb.accept_local=1",
    ),
    "martian-source, loopback": Fault(
        "martian-source", packet=inside("127.0.0.1"), function=RECEIVE, where="peer"
    ),
    "martian-source, multicast": Fault(
        "martian-source", packet=inside("224.0.0.9"), function=RECEIVE, where="peer"
    ),
    "martian-source, loopback of IPv6": Fault(
        "martian-source",
        with_ipv6,
        inside6("::1"),
        ("ip6_rcv_core",),
        where="peer",
    ),
    "forwarding-off": Fault(
        "forwarding-off",
        packet=inside(destination=FAR),
        function=ERROR,
        words=(f"for {FAR}", "forwarding is off"),
        evidence=(f"The route to {FAR} is by lan0.",),
        command="sysctl -w net.ipv4.ip_forward=1",
        arrives="lan0",
    ),
    "forwarding-off, IPv6": Fault(
        "forwarding-off",
        with_ipv6,
        inside6(destination=FAR6),
        ("ip6_forward",),
        words=(f"for {FAR6}",),
        command="sysctl -w net.ipv6.conf.all.forwarding=1",
        arrives="lan0",
    ),
    "forwarding-off, an address is missing": Fault(
        "forwarding-off",
        both(NO_ADDRESS, ip(f"route add {INNER_A} dev gre1")),
        function=ERROR,
        evidence=(f"no route to {INNER_B}",),
        command=f"ip addr add {INNER_B}/32 dev gre1",
    ),
    "no-route": Fault(
        "no-route",
        forwarding,
        inside(destination="10.30.0.1"),
        ERROR,
        words=("10.30.0.1, to which this host has no route",),
        mends=follow("ip route add 10.30.0.1/32 dev lan0"),
        arrives="lan0",
    ),
    "no-route, unreachable": Fault(
        "no-route",
        both(forwarding, ip("route add unreachable 10.30.0.0/16")),
        inside(destination="10.30.0.1"),
        ERROR,
        words=("type unreachable",),
        mends=follow("ip route del unreachable 10.30.0.0/16; ip route add 10.30.0.0/16 dev lan0"),
        arrives="lan0",
    ),
    "no-route, IPv6": Fault(
        "no-route",
        both(with_ipv6, forwarding),
        inside6(destination="fd30::1"),
        DISCARD6,
        words=("no route",),
        mends=follow("ip route add fd30::1/128 dev lan0"),
        arrives="lan0",
    ),
    "no-route, IPv6 prohibits": Fault(
        "no-route",
        both(with_ipv6, forwarding, ip("route add prohibit fd30::/64")),
        inside6(destination="fd30::1"),
        DISCARD6,
        words=("type prohibit",),
        mends=follow("ip route add fd30::1/128 dev lan0"),
        arrives="lan0",
    ),
    "mtu": Fault(
        "mtu",
        both(forwarding, ip("link set lan0 mtu 1300")),
        marked(1380),
        ("ip_forward",),
        words=("1400 bytes", "only 1300 bytes fit through lan0"),
        evidence=("segment that fits has 1260 bytes",),
        command="ip link set dev lan0 mtu 1400",
        arrives="lan0",
    ),
    "mtu, IPv6": Fault(
        "mtu",
        both(with_ipv6, forwarding, into_tunnel),
        inside6(destination="fd30::1", size=1360),
        ("ip6_forward",),
        iif="gre2",
        tunnel="gre2",
        remote=OTHER_A,
        words=("gre2 should send on packets of 1400 bytes", "only 1300 bytes fit"),
        evidence=("segment that fits has 1240 bytes",),
        where="peer",
        mends=follow("ip link set dev gre2 mtu 1400"),
        arrives="gre2",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_cause_is_named_and_its_fix_mends(fault):
    break_and_mend(fault)


XDP_DROP = """
__attribute__((section("xdp"))) int drop(void *context) { return 1; }
char _license[] __attribute__((section("license"))) = "";
"""
V4, V6 = (
    Kind(f"local {B} remote {A} ttl 255"),
    Kind(f"local {B6} remote {A6} encaplimit none ttl 255", kind="ip6gre"),
)
DROP_ALL = (
    "nft 'add table ip f; add chain ip f c { type filter hook prerouting priority 0; }; "
    "add rule ip f c iifname gre1 drop'"
)
# The tunnel, how the keepalive dies, and by which function.
KEEPALIVES = {
    "forwarding is off": (V4, "true", "ip_error"),
    "forwarding": (V4, "sysctl -w net.ipv4.ip_forward=1", "ip_rcv_finish_core"),
    "firewall": (
        V4,
        DROP_ALL,
        "nft_do_chain",
    ),
    "ip6gre": (V6, "sysctl -w net.ipv6.conf.gre1.disable_ipv6=0", "ip6_forward"),
    "ip6gre, IPv6 is disabled": (V6, "true", "ip6_rcv_core"),
}


@pytest.mark.parametrize(("kind", "breaks", "function"), KEEPALIVES.values(), ids=KEEPALIVES)
def test_keepalives_are_answered_as_advised(kind, breaks, function):
    packet, carried = kind.keepalive()
    remote, local = kind.ends
    with pair() as (a, b):
        wire_ipv6(a, b)
        tunnel(b, kind.attributes.removesuffix(" ttl 255"), kind=kind.kind)
        b.shell(breaks)
        with beside(a, b), explain_drop(b) as session:
            a.send("va", packet, times=SENT)
            session.wait_for_packets(SENT)
            (report,) = session.reports
            assert report["cause"] == "keepalive-unanswered", report
            assert (report["count"], report["tunnel"], report["iif"]) == (SENT, "gre1", "gre1")
            assert (report["remote"], report["local"]) == (remote, local)
            assert report["kernel"]["function"] in (function, "nf_hook_slow"), report
            assert report["fix"][0]["command"] == "gretrace respond gre1"
            by_itself = report["fix"][1]["command"]
            with session.quiet():
                if function != "nft_do_chain":
                    # The kernel's own way: what was carried comes bare, having spent one hop.
                    b.shell(by_itself)
                    assert is_answered(a, packet, local, lambda frame: frame[-4:] == carried[-4:])
                    undo = by_itself.replace("=1", "=0").replace("sysctl -w", "sysctl -qw")
                    b.shell(undo)
                done = gretrace(b, *shlex.split(report["fix"][0]["command"])[1:])
                assert done.exit_code == 0, done.stderr
                assert is_answered(a, packet, local, lambda frame: carried in frame)


def is_answered(a, packet, source, condition):
    with listen(a, "va") as wire:
        a.send("va", packet)
        (frame,) = hear(wire, source, 1)
        return condition(frame)


def test_keepalives_that_a_program_drops_are_answered_once_it_is_gone(tmp_path):
    packet, carried = V4.keepalive()
    built = tmp_path / "drop.o"
    with pair() as (a, b):
        tunnel_b(b)
        compile_program(b, XDP_DROP, built)
        b.ip(f"link set dev gre1 xdpgeneric object {built} section xdp")
        b.shell(
            "tc qdisc add dev gre1 clsact && tc filter add dev gre1 ingress pref 5 matchall "
            "action drop"
        )
        with beside(a, b), explain_drop(b) as session:
            commands = ("ip link set dev gre1 xdpgeneric off", "tc filter show dev gre1 ingress")
            for number, expected in enumerate(commands, 1):
                a.send("va", packet, times=SENT)
                session.wait_for_packets(number * SENT)
                assert len(session.reports) == number
                report = session.reports[-1]
                assert (report["cause"], report["count"]) == ("keepalive-unanswered", SENT)
                command, _, respond = report["fix"][0]["command"].partition(" && ")
                assert command == expected
                shown = b.shell(command).stdout
            assert "pref 5" in shown
            b.shell("tc filter del dev gre1 ingress pref 5")
            assert respond == ""
            with session.quiet():
                assert gretrace(b, *shlex.split(report["fix"][1]["command"])[1:]).exit_code == 0
                assert is_answered(a, packet, B, lambda frame: carried in frame)


def compile_program(host, source, target):
    host.shell(f"clang -target bpf -O2 -g -c -x c - -o {target} <<'END'\n{source}\nEND")


def test_tcp_segments_are_clamped_as_advised():
    """The SYN that the command rewrites is one on its way from the network behind."""
    segment = ipv4(INNER_A, FAR, 6, bytes(1380), fragment=0x4000)
    with pair() as (a, b), beside(a, b):
        tunnel_b(b)
        forwarding(b)
        b.ip(
            "link add lan0 type dummy",
            "link set lan0 mtu 1300 up arp off",
            "addr add 10.20.0.1/24 dev lan0",
        )
        with explain_drop(b) as session:
            a.send("va", gre_packet(A, B, segment), times=SENT)
            session.wait_for_packets(SENT)
            assert session.stop() == 3
        (report,) = session.reports
        assert report["cause"] == "mtu", report
        b.shell(report["fix"][0]["command"])
        syn = bytes.fromhex("1389 0050 00000001 00000000 6002 ffff 0000 0000 0204 0590")
        with listen(b, "lan0") as wire:
            a.send("va", gre_packet(A, B, ipv4(INNER_A, FAR, 6, syn)))
            while (frame := wire.recv(4096))[23:24] != b"\x06":
                pass
        assert frame[-4:] == bytes.fromhex("0204") + (1260).to_bytes(2, "big")
