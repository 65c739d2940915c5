# SPDX-License-Identifier: GPL-2.0-only
"""Where a packet of a tunnel can be without looking like one: it is told of all the same."""

import re

from tests.frames import gre, ipv6, udp
from tests.lab.field import Row, packets, pings_from_a, pings_from_b, prove
from tests.lab.hosts import run

HOP_BY_HOP, FRAGMENT, DESTINATION, GRE, NONE = 0, 44, 60, 47, 59
TEB = 0x6558
STRANGER6 = "2001:db8:99::1"


def nft(text):
    """Load one chain into B; `;` stands for the end of a line."""

    def load(site):
        lines = text.format(site=site).replace(";", "\n")
        run("ip", "netns", "exec", site.b.name, "nft", "-f", "-", stdin=lines + "\n")

    return load


def chain(family, hook, rule):
    return (
        f"table {family} f {{{{\nchain c {{{{\ntype filter hook {hook} priority 0\n"
        f"{rule}\n}}}}\n}}}}\n"
    )


def every(*steps):
    def do(site):
        for step in steps:
            step(site)

    return do


def ip(*lines):
    return lambda site: site.b.ip(*(line.format(site=site) for line in lines))


def sysctl(*settings):
    return lambda site: site.b.sysctl(*settings)


def gre1(attributes="", **more):
    return lambda site: site.tunnel(attributes, **more)


def inside(destination, source=None):
    def send(site):
        source_ = (source or "{site.in_a}").format(site=site)
        site.send(site.packet(udp(source_, destination.format(site=site))))

    return send


def inside6(destination):
    """What A sends over IPv6; the checksum that UDP then must have is missing."""
    packet = ipv6("fd10::2", destination, 17, bytes.fromhex("10e1000900080000"))
    return lambda site: site.send(site.packet(packet, protocol=0x86DD))


def external(site):
    site.b.ip(
        "link add gre1 type gre external",
        f"addr add {site.in_b}/24 dev gre1",
        "link set gre1 up",
    )


IN_VRF = ip("link add vrf1 type vrf table 20", "link set vrf1 up", "link set gre1 master vrf1")
IPV6_IN_VRF = every(
    IN_VRF,
    sysctl(*(f"net.ipv6.conf.{of}.disable_ipv6=0" for of in ("gre1", "vrf1"))),
    ip("addr add fd10::1/64 dev gre1 nodad"),
)
UNDERLAY_IN_VRF = ip(
    "link add vrf0 type vrf table 10",
    "link set vrf0 up",
    "link set vb master vrf0",
    "link change by0 type gre local {site.near} remote {site.beside} key 909 ttl 255 dev vrf0",
)
FORWARD = sysctl("net.ipv4.ip_forward=1")
# A network behind B; nobody lives there, and with `arp on` they are asked for.
LAN = ip(
    "link add lan0 type dummy",
    "link set lan0 up",
    "addr add 10.{site.number}.20.1/24 dev lan0",
)
FAR = "10.{site.number}.20.9"
ASK = every(
    ip("link set lan0 arp on"),
    sysctl("net.ipv4.neigh.lan0.retrans_time_ms=200", "net.ipv4.neigh.lan0.mcast_solicit=1"),
)


def port(site):
    return 5500 + site.number


def over_udp(kind):
    """Tunnels in UDP at both ends, whose keys differ."""

    def make(site):
        listen = f"fou add port {port(site)} " + ("gue" if kind == "gue" else "ipproto 47")
        more = f"encap {kind} encap-sport auto encap-dport {port(site)}"
        run("modprobe", "fou")
        for host in (site.a, site.b):
            host.ip(listen)
        site.tunnel(f"key 1 {more}")
        site.peer_tunnel(f"key 2 {more}")

    return make


def over_ipv6_of(attributes):
    return lambda site: over_ipv6(site, attributes)


def over_ipv6(site, attributes=""):
    site.b.sysctl("net.ipv6.conf.vb.disable_ipv6=0")
    site.a.sysctl(f"net.ipv6.conf.{site.va}.disable_ipv6=0")
    site.b.ip(f"addr add {site.outer6(1)}/64 dev vb nodad")
    # What B answers is to find its next hop.
    site.a.ip(f"addr add {site.outer6(2)}/64 dev {site.va} nodad")
    ends = f"local {site.outer6(1)} remote {site.outer6(2)}"
    site.tunnel(f"key 1 {attributes}", kind="ip6gre", ends=ends)


def extended(*headers):
    """GRE with a wrong key behind extension headers of IPv6."""

    def send(site):
        inner = gre(udp(site.in_a, site.in_b), key=2)
        kinds = [kind for kind, _ in headers] + [GRE]
        payload = inner
        for (_, body), following in zip(reversed(headers), reversed(kinds[1:]), strict=True):
            payload = bytes([following]) + body + payload
        site.send(ipv6(site.outer6(2), site.outer6(1), kinds[0], payload))

    return send


# Eight bytes each, but for the number of the next header: PadN of 4, and offset 0 with an identity.
PADDING = bytes([0, 1, 4, 0, 0, 0, 0])
ATOMIC = bytes([0, 0, 0]) + b"\0\0\0\x07"


def frame_for(device, destination):
    """A frame inside, to the address that a device of B's has."""

    def send(site):
        shown = site.b.run("ip", "link", "show", device).stdout
        address = bytes.fromhex(re.search(r"link/ether (\S+)", shown)[1].replace(":", ""))
        frame = address + b"\x02\0\0\0\0\x01" + b"\x08\x00"
        packet = udp(site.in_a, destination.format(site=site))
        site.send(site.packet(frame + packet, protocol=TEB))

    return send


def bridged(site):
    site.b.ip(
        f"link add gretap1 type gretap local {site.near} remote {site.far}",
        "link add br0 type bridge",
        "link set gretap1 up master br0",
        "link set br0 up",
        f"addr add {site.in_b}/24 dev br0",
    )


OURS = {"iif": "gre1"}
WRONG_KEY = {
    "words": ("gre1 expects key 1", "carry key 2"), "command": "link change gre1 type ip6gre",
}  # fmt: skip

ROWS = {
    "an external tunnel": Row(
        "forwarding-off", external, inside("99.2.2.2"), **OURS, command="addr add 99.2.2.2/32",
        is_mended=False,
    ),
    "an external tunnel on a router": Row(
        # This host then wants to say so to the sender, by a tunnel that nobody told where to.
        "no-route", every(external, FORWARD), inside("99.2.2.2"), **OURS, is_mended=False,
        also=("tx-no-metadata",),
    ),
    "in a VRF, no route": Row(
        "no-route", every(gre1(), FORWARD, IN_VRF), inside("99.2.2.2"), **OURS, is_mended=False,
        words=("VRF vrf1",), notes=("ip -n {site.b.name} route add vrf vrf1 99.2.2.2/32",),
    ),
    "in a VRF, reverse path": Row(
        "rp-filter",
        every(gre1(), FORWARD, IN_VRF, sysctl("net.ipv4.conf.gre1.rp_filter=1")),
        inside("{site.in_b}", "99.3.3.3"), **OURS,
        command="route replace vrf vrf1 99.3.3.3/32 dev gre1",
    ),
    "in a VRF, firewall": Row(
        "firewall", every(gre1(), IN_VRF, nft(chain("ip", "input", "udp dport 9 drop"))),
        inside("{site.in_b}"), **OURS, words=("at input",), command="nft 'insert rule ip f c",
        more='iifname "vrf1" ip saddr',
    ),
    "in a VRF, firewall before routing": Row(
        "firewall",
        every(gre1(), IN_VRF, nft(chain("ip", "prerouting", "iifname vrf1 udp dport 9 drop"))),
        inside("{site.in_b}"), **OURS, words=("ingress or prerouting",),
        command="nft 'insert rule ip f c",
    ),
    "in a VRF, IPv6, no route": Row(
        "no-route",
        every(gre1(), IPV6_IN_VRF, sysctl("net.ipv6.conf.all.forwarding=1")), inside6(STRANGER6),
        **OURS, is_mended=False, words=("VRF vrf1",),
        notes=(f"ip -n {{site.b.name}} route add vrf vrf1 {STRANGER6}/128",),
    ),
    "in a VRF, IPv6, forwarding off": Row(
        "forwarding-off",
        every(gre1(), IPV6_IN_VRF, ip(f"route add vrf vrf1 {STRANGER6} dev gre1")),
        inside6(STRANGER6), **OURS, command="", is_mended=False,
    ),
    "in a VRF, IPv6, firewall": Row(
        "firewall", every(gre1(), IPV6_IN_VRF, nft(chain("ip6", "input", "udp dport 9 drop"))),
        inside6("fd10::1"), **OURS, words=("at input",), command="nft 'insert rule ip6 f c",
        more='iifname "vrf1" ip6 saddr',
    ),
    "the underlay is in a VRF, wrong key": Row(
        "key-mismatch", every(UNDERLAY_IN_VRF, gre1("key 1 dev vrf0")), packets(key=2),
        words=("gre1 expects key 1", "carry key 2"), command="link change gre1 type gre",
        more="dev vrf0",
    ),
    "the underlay is in a VRF, over IPv6, wrong key": Row(
        "key-mismatch", every(UNDERLAY_IN_VRF, over_ipv6_of("dev vrf0")), extended(),
        **WRONG_KEY, more="dev vrf0",
    ),
    "FOU, wrong key": Row(
        "key-mismatch", over_udp("fou"), pings_from_a, words=("expects key 1", "carry key 2"),
        command="link change gre1 type gre", more="encap fou", flows=pings_from_a,
    ),
    "GUE, wrong key": Row(
        "key-mismatch", over_udp("gue"), pings_from_a, words=("expects key 1", "carry key 2"),
        command="link change gre1 type gre", more="encap gue", flows=pings_from_a,
    ),
    "behind a hop-by-hop header": Row(
        "key-mismatch", over_ipv6, extended((HOP_BY_HOP, PADDING)), **WRONG_KEY
    ),
    "behind an atomic fragment header": Row(
        "key-mismatch", over_ipv6, extended((FRAGMENT, ATOMIC)), **WRONG_KEY
    ),
    "behind three headers": Row(
        "key-mismatch", over_ipv6,
        extended((HOP_BY_HOP, PADDING), (DESTINATION, PADDING), (FRAGMENT, ATOMIC)), **WRONG_KEY
    ),
    "forwarded to a host that is silent": Row(
        "no-neighbour", every(gre1(), FORWARD, LAN, ASK), inside(FAR), **OURS,
        words=(FAR, "ARP", "lan0"), where="path", command="neigh show", is_mended=False,
    ),
    "forwarded and filtered at postrouting": Row(
        "firewall",
        every(gre1(), FORWARD, LAN, nft(chain("ip", "postrouting", "oifname lan0 drop"))),
        inside(FAR), **OURS, words=("at postrouting",), command="nft 'insert rule ip f c",
    ),
    "filtered before the tunnel": Row(
        "firewall",
        every(
            gre1(),
            lambda site: site.peer_tunnel(),
            nft(chain("inet", "output", "oifname gre1 drop")),
        ),
        pings_from_b, **OURS, words=("at output",), command="nft 'insert rule inet f c",
        flows=pings_from_b,
    ),
    "over a bridge, forwarding off": Row(
        "forwarding-off", bridged, frame_for("br0", "99.4.4.4"), tunnel="gretap1",
        iif="br0", command="addr add 99.4.4.4/32", is_mended=False,
    ),
}  # fmt: skip

told, test_told, test_mended, test_what_worked_before_still_works = prove(ROWS)
