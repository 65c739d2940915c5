# SPDX-License-Identifier: GPL-2.0-only
"""Set-ups from the field: the peer's packets come in fragments, and some do not come."""

from tests.frames import gre, ipv4, ipv6, udp
from tests.lab.field import SENT, Row, prove
from tests.lab.hosts import A, B, pair, run
from tests.lab.session import explain_drop

UNDERLAY, INSIDE = 1300, 1272  # the first fragment's size, and what of it the tunnel has
LOSES = "protocol ip flower ip_flags frag/nofirstfrag action drop"
CONNTRACK = (
    "table inet t {\nchain c {\ntype filter hook input priority 0\n"
    "ct state established accept\n}\n}\n"
)


def impatient(host):
    host.sysctl("net.ipv4.ipfrag_time=1", "net.ipv6.ip6frag_time=1")


def loses_later_ones(site):
    """The peer's tunnel makes packets that its link cuts, and something loses later fragments."""
    impatient(site.b)
    site.b.ip(f"link set vb mtu {UNDERLAY}")
    site.tunnel("key 1")
    site.peer_tunnel("key 1 nopmtudisc")
    site.a.ip(f"link set {site.peer} mtu 1472", f"link set {site.va} mtu {UNDERLAY}")
    run("tc", "qdisc", "add", "dev", site.va, "clsact", host=site.a)
    run("tc", "filter", "add", "dev", site.va, "egress", *LOSES.split(), host=site.a)


def long_pings(site):
    told = ("-n", "-q", "-i", "0.2", "-W", "1", "-s", "1400", "-M", "dont")
    run("ping", *told, "-c", str(SENT), site.in_b, host=site.a, check=False)


def fits(site):
    site.a.ip(f"link set {site.peer} mtu {INSIDE}")


def over_ipv6(site):
    impatient(site.b)
    site.b.sysctl("net.ipv6.conf.vb.disable_ipv6=0")
    site.b.ip(f"addr add {site.outer6(1)}/64 dev vb nodad")
    site.tunnel("key 1", kind="ip6gre", ends=f"local {site.outer6(1)} remote {site.outer6(2)}")


def behind_conntrack(site):
    over_ipv6(site)
    run("nft", "-f", "-", host=site.b, stdin=CONNTRACK)
    site.b.sysctl("net.netfilter.nf_conntrack_frag6_timeout=1")


def first_ones(source, destination, whole):
    """First fragments of packets of their own, over IPv6."""
    return [
        ipv6(source, destination, 44, bytes([47, 0, 0, 1, 0, 0, 0, number]) + whole[:1256])
        for number in range(SENT)
    ]


def first_fragments(site):
    whole = gre(udp(site.in_a, site.in_b, bytes(1400)), key=1)
    for packet in first_ones(site.outer6(2), site.outer6(1), whole):
        site.send(packet, times=1)


def with_tunnel(site):
    impatient(site.b)
    site.tunnel("key 1")


def inner_fragments(site):
    """First fragments of packets that a host behind A has cut before the tunnel."""
    for number in range(SENT):
        inner = ipv4(site.in_a, site.in_b, 17, bytes(800), fragment=0x2000, number=number)
        site.send(site.packet(inner, key=1), times=1)


ROWS = {
    "later fragments are lost": Row(
        "fragment-lost", loses_later_ones, long_pings, iif="vb", where="peer",
        words=("from {site.far} to {site.near} come in fragments", "within 1 s"),
        notes=(f"an MTU of {INSIDE},",), mends=fits,
    ),
    "later fragments are lost, over IPv6": Row(
        "fragment-lost", over_ipv6, first_fragments, iif="vb", where="peer",
        words=("come in fragments", "within 1 s"), notes=("an MTU of 1248,",), is_mended=False,
    ),
    "later fragments are lost, before conntrack": Row(
        "fragment-lost", behind_conntrack, first_fragments, iif="vb", where="peer",
        words=("come in fragments", "within 1 s"), notes=("an MTU of 1248,",), is_mended=False,
    ),
    "later fragments of what the tunnel carries are lost": Row(
        "fragment-lost", with_tunnel, inner_fragments, iif="gre1", where="path",
        words=("that gre1 has received come in fragments", "within 1 s"), is_mended=False,
    ),
}  # fmt: skip

told, test_told, test_mended, test_what_worked_before_still_works = prove(ROWS)


def test_of_later_fragments_the_namespace_is_not_known():
    """The kernel has not kept the device by which they came."""
    whole = gre(udp("10.10.10.2", "10.10.10.1", bytes(1400)), key=1)
    with pair() as (a, b):
        impatient(b)
        b.ip(f"link add gre1 type gre local {B} remote {A} key 1", "link set gre1 up")
        with explain_drop(None, "--all-netns") as session:
            for number in range(SENT):
                a.send("va", ipv4(A, B, 47, whole[1280:], fragment=1280 // 8, number=number))

            def lost():
                return [r for r in session.reports if r["remote"] == A]

            session.wait_for(lambda _: sum(r["count"] for r in lost()) >= SENT, "packets")
            session.stop()
        (report,) = lost()
        assert (report["cause"], report["count"], report["netns"]) == ("fragment-lost", SENT, 0)
        assert report["tunnel"] is None
        assert "a later fragment came" in report["summary"]
