# SPDX-License-Identifier: GPL-2.0-only
"""The encapsulate-and-forward example in a real kernel: which variant gets out, and why not.

A -- R -- B; the program is on R's device towards A, and B is where it encapsulates to. Each
variant has an address of B's of its own, which R does not know the link-layer address of.
"""

import json
import os
import socket
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import product

from gretrace.engine.core import OBJECTS
from gretrace.engine.maps import write_element
from gretrace.engine.programs import open_maps
from gretrace.host.namespaces import entered
from tests.encap import OWN, make_config, outer, routed
from tests.frames import udp
from tests.lab.bystander import beside
from tests.lab.hosts import hosts, wire
from tests.lab.session import PATIENCE, explain_drop

OBJECT = OBJECTS / "encap.bpf.o"
HOOKS = ("tc", "xdp", "xdpgeneric")
PACKET = udp("30.1.1.2", "10.10.10.1")
SENT = 2
# Of R's device towards A, and what becomes of an IPv4 packet that is passed up there.
SETTINGS = {
    "off": ("accept_local=0", "rp_filter=1"),
    "accept_local": ("accept_local=1", "rp_filter=1"),
    "loose": ("accept_local=1", "rp_filter=2"),
    "on": ("accept_local=1", "rp_filter=0"),
}
CAUSES = {"off": "martian-source", "accept_local": "rp-filter-outer"}


@dataclass(frozen=True)
class Variant:
    """A hook, an outer family and settings, with the address that it sends to."""

    hook: str
    family: int
    settings: str
    number: int

    @property
    def remote(self):
        return f"20.1.1.{self.number}" if self.family == 4 else f"fd00::{self.number:x}"

    @property
    def cause(self):
        """What explain-drop must say; IPv6 asks no setting."""
        return CAUSES.get(self.settings) if self.family == 4 else None


VARIANTS = [
    Variant(*variant, number) for number, variant in enumerate(product(HOOKS, (4, 6), SETTINGS), 10)
]


@contextmanager
def network():
    """A, R and B, R forwarding; B has every address that is sent to."""
    with hosts("a", "r", "b") as (a, r, b):
        wire(a, "va", "30.1.1.2/24", r, "ra", "30.1.1.1/24")
        wire(r, "rb", f"{OWN[4]}/24", b, "vb", "20.1.1.2/24")
        for host, device in ((r, "ra"), (r, "rb"), (b, "vb")):
            host.sysctl(f"net.ipv6.conf.{device}.disable_ipv6=0")
        r.sysctl("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        r.sysctl("net.ipv4.conf.all.rp_filter=0")
        r.ip(f"addr add {OWN[6]}/64 dev rb nodad")
        b.ip(
            *(
                f"addr add {v.remote}/{24 if v.family == 4 else 64} dev vb"
                + (" nodad" if v.family == 6 else "")
                for v in VARIANTS
            ),
            # What is redirected natively to a veth is lost unless its peer has a program, too.
            f"link set dev vb xdp object {OBJECT} section xdp",
        )
        yield a, r, b


@contextmanager
def encapsulating(r, variants):
    """R with the program of one hook, attached as a user would; yields what sets each variant."""
    (hook,) = {variant.hook for variant in variants}
    if hook == "tc":
        r.run("tc", "qdisc", "add", "dev", "ra", "clsact")
        r.run(
            *("tc", "filter", "add", "dev", "ra", "ingress", "bpf", "direct-action"),
            *("object-file", str(OBJECT), "section", "tc"),
        )
        shown = json.loads(r.run("tc", "-j", "filter", "show", "dev", "ra", "ingress").stdout)
        (program,) = [f["options"]["prog"]["id"] for f in shown if "options" in f]
        off = ("tc", "qdisc", "del", "dev", "ra", "clsact")
    else:
        r.ip(f"link set dev ra {hook} object {OBJECT} section xdp")
        (shown,) = json.loads(r.run("ip", "-j", "link", "show", "ra").stdout)
        program = shown["xdp"]["prog"]["id"]
        off = ("ip", "link", "set", "dev", "ra", hook, "off")
    maps = open_maps(program)

    def set_to(variant):
        r.sysctl(*(f"net.ipv4.conf.ra.{setting}" for setting in SETTINGS[variant.settings]))
        write_element(maps["encap_config"], make_config(variant.family, variant.remote))
        return variant

    try:
        yield map(set_to, variants)
    finally:
        for fd in maps.values():
            os.close(fd)
        r.run(*off)


class Wire:
    """What comes out at B."""

    def __init__(self, b):
        with entered(b.namespace):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.bind(("vb", 3))
        self._socket.setblocking(False)
        self._seen = []

    def close(self):
        self._socket.close()

    def to(self, variant, count):
        """Wait for the IP packets with GRE inside to a variant's address; none is a count, too."""
        deadline = time.monotonic() + (PATIENCE if count else 0)
        while True:
            self._look()
            found = [p for p in self._seen if _destination(p) == variant.remote]
            if len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.02)

    def _look(self):
        while True:
            try:
                frame, address = self._socket.recvfrom(2048)
            except BlockingIOError:
                return
            if address[2] != socket.PACKET_OUTGOING and _destination(frame[14:]):
                self._seen.append(frame[14:])


def _destination(packet):
    """Where a packet goes to, if it carries GRE."""
    if packet[0] >> 4 == 4 and packet[9] == 47:
        return socket.inet_ntop(socket.AF_INET, packet[16:20])
    if packet[0] >> 4 == 6 and packet[6] == 47:
        return socket.inet_ntop(socket.AF_INET6, packet[24:40])
    return None


def expected(variant, *, passed_up):
    """The packet as it must come out; R counts as a router if the kernel has forwarded it."""
    headers = bytearray(outer(variant.family, variant.remote, PACKET))
    inner = routed(PACKET)
    if not passed_up:
        return bytes(headers) + inner
    if variant.family == 6:
        headers[7] -= 1
        return bytes(headers) + inner
    return routed(bytes(headers)) + inner


def test_what_gets_out_and_what_is_said_of_the_rest():
    with (
        network() as (a, r, b),
        beside(b, r, here=OWN[4], device="vb"),
        closing(Wire(b)) as wire_b,
    ):
        with explain_drop(r) as session:
            for hook in HOOKS:
                with encapsulating(r, [v for v in VARIANTS if v.hook == hook]) as variants:
                    for variant in variants:
                        see(a, session, wire_b, variant)
            assert session.stop() == 3
        dropped = {v.remote: v for v in VARIANTS if v.cause}
        assert sorted(r["local"] for r in session.reports) == sorted(dropped), session.stdout
        for report in session.reports:
            check(report, dropped[report["local"]], r)
        advice = {r["cause"]: r["fix"][0] for r in session.reports}
        assert set(advice) == set(CAUSES.values())
        with explain_drop(r) as session:
            for hook in HOOKS:
                with encapsulating(r, [v for v in dropped.values() if v.hook == hook]) as variants:
                    for variant in variants:
                        assert advice[variant.cause]["where"] == "here"
                        r.shell(advice[variant.cause]["command"])
                        a.send("va", PACKET)
                        assert wire_b.to(variant, 1) == [expected(variant, passed_up=True)]
            assert session.stop() == 0, session.stdout


def see(a, session, wire_b, variant):
    """What a variant sends comes out at B, or is reported."""
    a.send("va", PACKET, times=SENT if variant.cause else 1)
    if variant.cause:
        session.wait_for(
            lambda reports: variant.remote in {r["local"] for r in reports}, f"report of {variant}"
        )
        assert not wire_b.to(variant, 0), variant
        return
    wire_b.to(variant, 1)
    # Now that the neighbour is known, the program sends by itself.
    a.send("va", PACKET)
    assert wire_b.to(variant, 2) == [
        expected(variant, passed_up=True),
        expected(variant, passed_up=False),
    ], variant


def check(report, variant, r):
    assert report["cause"] == variant.cause
    assert report["count"] == SENT
    assert report["remote"] == OWN[4]
    assert (report["iif"], report["netns"]) == ("ra", r.namespace.inode)
    assert report["inner"] == {"src": "30.1.1.2", "dst": "10.10.10.1", "protocol": 17}
    assert report["kernel"]["function"].startswith(("ip_rcv_finish", "ip_route_input"))
    setting = "accept_local" if variant.settings == "off" else "rp_filter"
    assert f"net.ipv4.conf.ra.{setting}" in report["fix"][0]["command"]


def test_a_neighbour_that_is_known_needs_no_setting():
    """For as long as the entry lives; then the program must pass its packets up again."""
    variant = next(v for v in VARIANTS if v.cause)
    with network() as (a, r, b), closing(Wire(b)) as wire_b, explain_drop(r) as session:
        peer = r.wires["rb"][:6].hex(":")
        r.ip(f"neigh add {variant.remote} lladdr {peer} dev rb")
        with encapsulating(r, [variant]) as variants:
            assert list(variants) == [variant]
            a.send("va", PACKET)
            assert wire_b.to(variant, 1) == [expected(variant, passed_up=False)]
        assert session.stop() == 0, session.stdout
