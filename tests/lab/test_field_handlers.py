# SPDX-License-Identifier: GPL-2.0-only
"""Set-ups from the field: what the tunnel carried is for this host, and nothing here takes it."""

import socket
from functools import partial

import pytest

from gretrace.host.namespaces import entered
from tests.frames import ipv4, ipv6, udp
from tests.lab.field import Row, prove

OSPF, ESP, IPIP, SCTP, IPV6 = 89, 50, 4, 132, 0x86DD
PAYLOAD = bytes(44)
daemons = []  # their sockets, open as long as the sites


def sends(protocol, payload=PAYLOAD):
    """A sends packets of an IP protocol to B's address inside, and greetings to all."""

    def send(site):
        site.send(site.packet(ipv4(site.in_a, site.in_b, protocol, payload)))
        site.send(site.packet(ipv4(site.in_a, "224.0.0.5", protocol, payload, ttl=1)))

    return send


def sends_over_ipv6(site):
    inner = ipv6(f"fd10:{site.number}::2", f"fd10:{site.number}::1", OSPF, PAYLOAD)
    site.send(site.packet(inner, protocol=IPV6))


def with_ipv6(site):
    site.tunnel()
    site.b.sysctl("net.ipv6.conf.gre1.disable_ipv6=0")
    site.b.ip(f"addr add fd10:{site.number}::1/64 dev gre1 nodad")


def starts_a_daemon(site, protocol, family=socket.AF_INET):
    with entered(site.b.namespace):
        daemons.append(socket.socket(family, socket.SOCK_RAW, protocol))


def makes_a_tunnel(site):
    site.b.ip(f"link add in0 type ipip local {site.in_b} remote {site.in_a}", "link set in0 up")


ROWS = {
    "OSPF to this host": Row(
        "no-handler", lambda site: site.tunnel(), sends(OSPF),
        words=("OSPF (IP protocol 89)", "to {site.in_b} through gre1"), notes=("FRR's ospfd",),
        iif="gre1", mends=partial(starts_a_daemon, protocol=OSPF),
    ),
    "OSPF to this host, over IPv6": Row(
        "no-handler", with_ipv6, sends_over_ipv6, words=("OSPF (IP protocol 89)",),
        notes=("ospf6d",), iif="gre1",
        mends=partial(starts_a_daemon, protocol=OSPF, family=socket.AF_INET6),
    ),
    "ESP that no IKE daemon has asked for": Row(
        "no-handler", lambda site: site.tunnel(), sends(ESP), words=("ESP (IP protocol 50)",),
        notes=("IKE daemon",), iif="gre1", mends=partial(starts_a_daemon, protocol=ESP),
    ),
    "SCTP": Row(
        "no-handler", lambda site: site.tunnel(), sends(SCTP), words=("SCTP (IP protocol 132)",),
        notes=("listens on SCTP",), iif="gre1", mends=partial(starts_a_daemon, protocol=SCTP),
    ),
    "IP in IP without a tunnel": Row(
        "no-handler", lambda site: site.tunnel(), sends(IPIP, udp("10.9.9.2", "10.9.9.1")),
        words=("IP in IP (IP protocol 4)",), notes=("kind ipip",), iif="gre1",
        mends=makes_a_tunnel,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def no_daemon_is_left():
    yield
    while daemons:
        daemons.pop().close()


told, test_told, test_mended, test_what_worked_before_still_works = prove(ROWS)
