# SPDX-License-Identifier: GPL-2.0-only
"""Set-ups from the field: no way in: IPsec, damage, no address, no IPv6, no room."""

from ipaddress import ip_address

from gretrace.wire.packet import internet_checksum
from tests.frames import gre_packet, ipv6
from tests.lab.field import Row, packets, pings_from_b, prove
from tests.lab.hosts import A, B, pair, run
from tests.lab.session import explain_drop

IPV6, ICMPV6 = 0x86DD, 58
WANT_ESP = "tmpl src {here} dst {there} proto esp mode transport level required"
TABLE = "net.netfilter.nf_conntrack_max"


def policy(direction, action="block"):
    """A policy about GRE with A's address, and the tunnels that it is about."""

    def make(site):
        here, there = (site.far, site.near) if direction == "in" else (site.near, site.far)
        then = "action block" if action == "block" else action.format(here=here, there=there)
        site.tunnel()
        site.peer_tunnel()
        site.b.ip(f"xfrm policy add src {here} dst {there} proto gre dir {direction} {then}")

    return make


def without_policies(site):
    site.b.ip("xfrm policy flush")


def damaged(place, value):
    """Send packets with one byte of the IP header changed."""

    def send(site):
        packet = bytearray(site.packet())
        packet[place] ^= value
        site.send(bytes(packet))

    return send


def longer(site):
    """Send packets whose header announces more than comes, with the right checksum of it."""
    whole = site.packet() + bytes(40)
    size = len(whole)
    packet = bytearray(whole[: size - 40])
    packet[2:4] = size.to_bytes(2, "big")
    packet[10:12] = bytes(2)
    total = sum(int.from_bytes(packet[at : at + 2], "big") for at in range(0, 20, 2))
    packet[10:12] = (~((total & 0xFFFF) + (total >> 16)) & 0xFFFF).to_bytes(2, "big")
    site.send(bytes(packet))


def without_its_address(site):
    site.b.ip(f"addr add {site.outer(9)}/24 dev vb")
    site.tunnel(ends=f"local {site.outer(9)} remote {site.far}")
    site.b.ip(f"addr del {site.outer(9)}/24 dev vb")


def without_ipv6(site):
    site.tunnel()
    site.b.sysctl("net.ipv6.conf.gre1.disable_ipv6=1")


def with_small_mtu(site):
    site.tunnel()
    site.b.sysctl("net.ipv6.conf.default.disable_ipv6=0")
    site.b.ip("link set gre1 mtu 1000")


def with_address(site):
    site.b.try_ip("addr add fd10::1/64 dev gre1 nodad")  # fails where nothing was advised


def sends_ipv6(site):
    ends = ip_address("fd10::2").packed + ip_address("fd10::1").packed
    message = b"\x80\0\0\0" + bytes(4)
    # RFC 4443, section 2.3
    total = internet_checksum(ends + len(message).to_bytes(4, "big") + b"\0\0\0:" + message)
    message = message[:2] + total.to_bytes(2, "big") + message[4:]
    site.send(site.packet(ipv6("fd10::2", "fd10::1", ICMPV6, message), protocol=IPV6))


ROWS = {
    "IPsec blocks what arrives": Row(
        "ipsec-policy", policy("in"), packets(), iif="vb", words=("IPsec blocks", "policy in"),
        command="xfrm policy delete src {site.far}/32 dst {site.near}/32 proto gre", more="dir in",
    ),
    "IPsec is wanted, and plain text comes": Row(
        "ipsec-policy", policy("in", WANT_ESP), packets(), iif="vb",
        words=("plain text", "policy in"), where="peer", notes=("protect GRE",),
        mends=without_policies,
    ),
    "IPsec blocks what leaves": Row(
        "tx-ipsec", policy("out"), pings_from_b, words=("gre1", "IPsec blocks it", "policy out"),
        command="xfrm policy delete src {site.near}/32 dst {site.far}/32 proto gre",
        more="dir out", flows=pings_from_b,
    ),
    "IPsec is wanted, and there is no state": Row(
        "tx-ipsec", policy("out", WANT_ESP), pings_from_b,
        words=("gre1", "policy out", "no state from {site.near} to {site.far}"),
        notes=("IKE",), mends=without_policies, flows=pings_from_b,
    ),
    "the checksum of the IP header is wrong": Row(
        "outer-corrupt", lambda site: site.tunnel(), damaged(11, 1), iif="vb",
        words=("checksum of their IP header",), where="path", is_mended=False,
    ),
    "the IP header announces more than comes": Row(
        "outer-corrupt", lambda site: site.tunnel(), longer, iif="vb",
        words=("more bytes than came",), where="path", is_mended=False,
    ),
    "the local address is gone": Row(
        "local-address-missing", without_its_address,
        lambda site: site.send(site.packet(local=site.outer(9))), iif="vb",
        words=("gre1 waits", "20.{site.number}.1.9"), command="addr add 20.{site.number}.1.9/32",
        more="dev vb",
    ),
    "IPv6 is switched off": Row(
        "ipv6-disabled", without_ipv6, sends_ipv6, iif="gre1", words=("disable_ipv6 is on",),
        command="sysctl -w net.ipv6.conf.gre1.disable_ipv6=0", mends=with_address,
    ),
    "the MTU is too small for IPv6": Row(
        "ipv6-disabled", with_small_mtu, sends_ipv6, iif="gre1", words=("MTU is 1000", "1280"),
        command="link set gre1 mtu 1280", mends=with_address,
    ),
}  # fmt: skip

told, test_told, test_mended, test_what_worked_before_still_works = prove(ROWS)


def test_a_full_table_of_conntrack():
    """Its size is one for all namespaces, so it is no row."""
    with pair() as (a, b):
        b.ip(f"link add gre1 type gre local {B} remote {A}", "link set gre1 up")
        run("ip", "netns", "exec", b.name, "nft", "-f", "-", stdin=(
            "table ip t {\nchain c {\ntype filter hook input priority 0\n"
            "ct state established accept\n}\n}\n"
        ))  # fmt: skip
        before = run("sysctl", "-n", TABLE).stdout.strip()
        try:
            run("sysctl", "-w", f"{TABLE}=1")
            with explain_drop(b) as session:
                for source in range(40, 43):
                    a.send("va", gre_packet(f"20.1.1.{source}", B))
                session.wait_for_packets(3)
                session.stop()
            # The first still had room, and came to the lookup.
            full = [r for r in session.reports if r["cause"] == "conntrack-full"]
            (report, _), (other,) = full, [r for r in session.reports if r not in full]
            assert other["cause"] == "nat-remote"
            assert report["confidence"] == "likely"
            command = report["fix"][0]["command"]
            assert command == f"sysctl -w {TABLE}=1024"
            run("sh", "-c", command)
            with explain_drop(b) as session:
                a.send("va", gre_packet("20.1.1.50", B))
                session.wait_for(lambda reports: reports, "report")
                session.stop()
            # It has come to the lookup, which has no tunnel for it.
            assert "conntrack-full" not in {r["cause"] for r in session.reports}
        finally:
            run("sysctl", "-w", f"{TABLE}={before}")
