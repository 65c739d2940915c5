# SPDX-License-Identifier: GPL-2.0-only
"""Keepalives put on the wire, and the answers taken from it, byte by byte."""

import platform
import re
import socket
import time
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from gretrace.host.namespaces import entered
from gretrace.wire.packet import internet_checksum, parse_packet
from tests.frames import answer, gre, gre_packet, ipv4, ipv6
from tests.lab.hosts import INNER_A, INNER_B, A, B, pair, run, tunnel, tunnel_a, tunnel_b
from tests.lab.session import gretrace, running

A6, B6 = "fd00::2", "fd00::1"
KEEPALIVES = 100
ETHERNET_SIZE = 14
# v5.10 gives programs on a tunnel the packet with its outer headers, later kernels without.
SHOWS_OUTER_HEADERS = platform.release().startswith("5.10.")


@dataclass(frozen=True)
class Kind:
    """A tunnel of B's, and how A's packets look in it."""

    attributes: str
    kind: str = "gre"
    name: str = "gre1"
    key: int | None = None
    checksum: bool = False
    sequence: bool = False

    @property
    def ends(self):
        return (A6, B6) if self.kind == "ip6gre" else (A, B)

    def keepalive(self, number=0, inner=None):
        remote, local = self.ends
        protocol = 0x86DD if self.kind == "ip6gre" else 0
        carried = answer(local, remote, protocol=protocol) if inner is None else inner
        header = gre(
            carried,
            protocol=0x86DD if self.kind == "ip6gre" else 0x0800,
            key=self.key,
            checksum=self.checksum,
            sequence=number if self.sequence else None,
        )
        return (ipv6 if self.kind == "ip6gre" else ipv4)(remote, local, 47, header), carried


KINDS = {
    "point to point": Kind(f"local {B} remote {A} ttl 255"),
    "keyed": Kind(f"local {B} remote {A} key 7 ttl 255", key=7),
    "with checksums": Kind(f"local {B} remote {A} csum ttl 255", checksum=True),
    "with sequence": Kind(f"local {B} remote {A} seq ttl 255", sequence=True),
    "with all of them": Kind(
        f"local {B} remote {A} key 7 csum seq ttl 255", key=7, checksum=True, sequence=True
    ),
    "no local": Kind(f"remote {A} ttl 255"),
    "remote any": Kind(f"local {B} remote any ttl 255"),
    "remote any, keyed": Kind(f"local {B} remote any key 7 ttl 255", key=7),
    "the fallback device": Kind("", name="gre0"),
    "ip6gre": Kind(f"local {B6} remote {A6} ttl 255", kind="ip6gre"),
    "ip6gre, keyed": Kind(f"local {B6} remote {A6} key 7 ttl 255", kind="ip6gre", key=7),
}


def make(b, kind):
    if kind.attributes:
        b.ip(f"link add {kind.name} type {kind.kind} {kind.attributes}")
    b.ip(f"link set {kind.name} up")


def with_ipv6(a, b):
    for host, device, address in ((a, "va", A6), (b, "vb", B6)):
        host.sysctl(f"net.ipv6.conf.{device}.disable_ipv6=0")
        host.ip(f"addr add {address}/64 dev {device} nodad")


def listen(host, device):
    """Hear all that arrives on a device, from now on."""
    with entered(host.namespace):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    wire.bind((device, 3))
    wire.settimeout(10)
    return wire


def hear(wire, source, count):
    """The next `count` GRE packets from a source, as bytes from their IP header on."""
    heard = []
    while len(heard) < count:
        frame, origin = wire.recvfrom(4096)
        packet = parse_packet(frame[ETHERNET_SIZE:])
        outgoing = origin[2] == socket.PACKET_OUTGOING
        if not outgoing and packet and packet.gre and str(packet.remote) == source:
            heard.append(frame[ETHERNET_SIZE:])
    return heard


def assert_answer(frame, kind, carried, sequences):
    """The answer goes inside the tunnel: outer and GRE header of ours, then A's own packet."""
    remote, local = kind.ends
    packet = parse_packet(frame)
    assert (str(packet.remote), str(packet.local)) == (local, remote)
    assert packet.payload == carried
    assert packet.gre.protocol == (0x86DD if kind.kind == "ip6gre" else 0x0800)
    assert packet.gre.key == kind.key
    assert packet.gre.has_checksum == kind.checksum
    assert packet.gre.checksum_valid == (True if kind.checksum else None)
    assert packet.gre.has_sequence == kind.sequence
    sequences.append(packet.gre.sequence)
    if packet.family == 4:
        assert internet_checksum(frame[:20]) == 0
        assert frame[8] == (255 if kind.attributes and "remote any" not in kind.attributes else 64)
    else:
        # The program that answers on the wire knows nothing of the tunnel's own hop limit.
        assert frame[7] == (64 if SHOWS_OUTER_HEADERS else 255)


def expected_hook(kind):
    if kind.name == "gre0" or "remote any" in kind.attributes:
        return "xdp"
    return "tc-wire" if kind.kind == "ip6gre" and SHOWS_OUTER_HEADERS else "tc"


def send_spaced(a, packets):
    for packet in packets:
        a.send("va", packet)
        time.sleep(0.001)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_keepalive_is_answered(kind):
    with pair() as (a, b):
        with_ipv6(a, b)
        b.finish_checksums("vb")
        make(b, kind)
        done = gretrace(b, "respond", kind.name, "-o", "json")
        assert done.exit_code == 0, done.stderr
        sent = [kind.keepalive(number) for number in range(KEEPALIVES)]
        with listen(a, "va") as wire:
            send_spaced(a, [packet for packet, _ in sent[: KEEPALIVES // 2]])
            for packet, _ in sent[KEEPALIVES // 2 :]:
                a.send("va", packet)
            sequences = []
            for frame in hear(wire, kind.ends[1], KEEPALIVES):
                assert_answer(frame, kind, sent[0][1], sequences)
        if kind.sequence:
            assert sequences == list(range(sequences[0], sequences[0] + KEEPALIVES))
        (listed,) = [
            r for r in gretrace(b, "tunnels", "-o", "json").records if r["name"] == kind.name
        ]
        assert listed["responder"]["answered"] == KEEPALIVES
        assert listed["responder"]["refused"] == {}
        assert listed["responder"]["hook"] == expected_hook(kind)


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_traffic_keeps_flowing_and_strangers_are_refused(hook):
    with pair() as (a, b):
        tunnel_a(a)
        tunnel_b(b)
        done = gretrace(b, "respond", "gre1", "--hook", hook)
        if hook == "xdp" and SHOWS_OUTER_HEADERS:
            assert done.exit_code == 4
            assert "no answer comes right from gre1 (gre) by xdp" in done.stderr
            return
        assert done.exit_code == 0
        assert a.ping(INNER_B, count=5)
        assert b.ping(INNER_A, count=5)
        strangers = [answer(B, "9.9.9.9"), answer("9.9.9.9", A), answer(A, B)]
        with listen(a, "va") as wire:
            for inner in strangers:
                a.send("va", gre_packet(A, B, inner))
            a.send("va", gre_packet(A, B, answer(B, A)))
            # One answer, and it is the one to the keepalive.
            (heard,) = hear(wire, B, 1)
            assert parse_packet(heard).payload == answer(B, A)
            wire.settimeout(0.5)
            with pytest.raises(TimeoutError):
                hear(wire, B, 1)
        (listed,) = [r for r in gretrace(b, "tunnels", "-o", "json").records if r["name"] == "gre1"]
        assert listed["responder"]["refused"] == {"foreign": 2, "own-answer": 1}


def test_two_responders_do_not_loop():
    with pair() as (a, b):
        tunnel_a(a)
        tunnel_b(b)
        for host in (a, b):
            assert gretrace(host, "respond", "gre1").exit_code == 0
        with listen(a, "va") as wire:
            a.send("va", gre_packet(A, B, answer(B, A)))
            hear(wire, B, 1)
            wire.settimeout(0.5)
            with pytest.raises(TimeoutError):
                hear(wire, B, 1)
        counts = {}
        for host in (a, b):
            for record in gretrace(host, "tunnels", "-o", "json").records:
                if record["name"] == "gre1":
                    counts[host.name] = record["responder"]
        assert counts[b.name]["answered"] == 1
        assert counts[a.name]["answered"] == 0
        assert counts[a.name]["refused"] == {"own-answer": 1}


def test_twice_changes_nothing_and_off_leaves_nothing():
    with pair() as (_, b):
        tunnel_b(b)
        first = gretrace(b, "respond", "gre1", "-o", "json").records[0]["responder"]
        second = gretrace(b, "respond", "gre1", "-o", "json").records[0]["responder"]
        assert first["program_id"] == second["program_id"]
        assert gretrace(b, "respond", "gre1", "--off").exit_code == 0
        (record,) = [r for r in gretrace(b, "tunnels", "-o", "json").records if r["name"] == "gre1"]
        assert record["responder"] is None
        again = gretrace(b, "respond", "gre1", "--off")
        assert "had no responder" in again.stderr
        assert run("bpftool", "prog", "show").stdout.count("gretrace_") == 0


def test_one_responder_is_enough():
    """Another of ours, attached by hand, goes when the command decides for a hook."""
    with pair() as (_, b):
        tunnel(b, f"local {B} remote {A} key 4")
        b.shell("ip link set dev gre1 xdp object src/gretrace/objects/keepalive.bpf.o section xdp")
        assert gretrace(b, "respond", "gre1", "-o", "json").records[0]["responder"]["hook"] == "xdp"
        again = gretrace(b, "respond", "gre1", "--hook", "tc", "-o", "json")
        assert again.records[0]["responder"]["hook"] == "tc"
        assert again.records[0]["why"] == "a trial keepalive was answered"
        assert "xdp" not in b.shell("ip link show gre1").stdout


def test_a_responder_goes_with_its_tunnel():
    with pair() as (_, b):
        tunnel_b(b)
        assert gretrace(b, "respond", "gre1").exit_code == 0
        assert "gretrace_tc" in run("bpftool", "prog", "show").stdout
        b.ip("link del gre1")
        deadline = time.monotonic() + 10
        while "gretrace_" in run("bpftool", "prog", "show").stdout:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_changed_tunnel_is_told_by_running_it_again():
    with pair() as (a, b):
        tunnel(b, f"local {B} remote 20.1.1.77")
        assert gretrace(b, "respond", "gre1").exit_code == 0
        b.ip(f"link change gre1 type gre local {B} remote {A} ttl 255")
        assert gretrace(b, "respond", "gre1").exit_code == 0
        with listen(a, "va") as wire:
            a.send("va", gre_packet(A, B, answer(B, A)))
            hear(wire, B, 1)


def test_dialects_are_by_choice():
    private = answer(B, "192.168.5.15")
    inside = answer(INNER_B, INNER_A)
    with pair() as (a, b):
        tunnel_b(b, up=False)
        b.ip(
            "addr flush dev gre1",
            f"addr add {INNER_B} peer {INNER_A} dev gre1",
            "link set gre1 up",
        )
        for dialect, packet in (("nat", private), ("inside", inside)):
            assert gretrace(b, "respond", "gre1", "--dialect", dialect).exit_code == 0
            with listen(a, "va") as wire:
                a.send("va", gre_packet(A, B, packet))
                (heard,) = hear(wire, B, 1)
                assert parse_packet(heard).payload == packet


FOREIGN = """
__attribute__((section("xdp"))) int pass(void *context) { return 2; }
char _license[] __attribute__((section("license"))) = "";
"""


def test_a_program_of_others_is_never_evicted(tmp_path):
    with pair() as (_, b):
        tunnel(b, f"local {B} remote any key 5")
        built = str(tmp_path / "foreign.o")
        run(
            "clang", "-target", "bpf", "-O2", "-g", "-c", "-x", "c", "-", "-o", built, stdin=FOREIGN
        )
        b.ip(f"link set dev gre1 xdp object {built} section xdp")
        refused = gretrace(b, "respond", "gre1")
        assert refused.exit_code == 1
        assert "another program on its xdp hook" in refused.stderr
        gretrace(b, "respond", "gre1", "--off")
        assert "xdp" in b.shell("ip link show gre1").stdout
        assert gretrace(b, "respond", "gre1", "--force").exit_code == 0


def test_the_object_alone_answers_with_plain_iproute2():
    """Nobody tells it the addresses: it answers what mirrors the outer header, and no more."""
    remote = "any" if SHOWS_OUTER_HEADERS else A
    with pair() as (a, b):
        tunnel(b, f"local {B} remote {remote} key 4")
        b.shell("ip link set dev gre1 xdp object src/gretrace/objects/keepalive.bpf.o section xdp")
        with listen(a, "va") as wire:
            a.send("va", gre_packet(A, B, answer(B, "9.9.9.9"), key=4))
            a.send("va", gre_packet(A, B, answer(A, B), key=4))
            a.send("va", gre_packet(A, B, answer(B, A), key=4))
            (heard,) = hear(wire, B, 1)
            assert parse_packet(heard).payload == answer(B, A)
            wire.settimeout(0.5)
            with pytest.raises(TimeoutError):
                hear(wire, B, 1)


def test_the_object_alone_answers_no_strangers_whose_tunnel_leads_through_ours():
    """A keepalive of others in transit looks like the outer header and what it mirrors."""
    there, here = "203.0.113.7", "198.51.100.9"
    transit = gre_packet(there, here, answer(here, there))
    remote = "any" if SHOWS_OUTER_HEADERS else A
    with pair() as (a, b):
        tunnel(b, f"local {B} remote {remote} key 4")
        b.shell("ip link set dev gre1 xdp object src/gretrace/objects/keepalive.bpf.o section xdp")
        with listen(a, "va") as wire:
            a.send("va", gre_packet(A, B, transit, key=4))
            a.send("va", gre_packet(A, B, answer(B, A), key=4))
            (heard,) = hear(wire, B, 1)
            assert parse_packet(heard).payload == answer(B, A)


REFUSED = {
    "missing": (["nope9"], 2, "there is no interface 'nope9'"),
    "no tunnel": (["vb"], 2, "vb is no GRE tunnel"),
    "ethernet": (["tap1"], 2, "carries Ethernet frames"),
    "external": (["ext1"], 2, "external"),
    "nothing": ([], 2, "which tunnel?"),
    "both": (["gre1", "--all"], 2, "which tunnel?"),
    "hook that cannot": (
        ["any1", "--hook", "tc"],
        4,
        "no answer comes right from any1 (gre without a remote) by tc",
    ),
}


def test_what_cannot_be_is_said_in_one_line():
    with pair() as (_, b):
        tunnel_b(b)
        b.ip(
            f"link add tap1 type gretap local {B} remote {A}",
            "link add ext1 type gre external",
            f"link add any1 type gre local {B} key 9",
        )
        for arguments, code, words in REFUSED.values():
            done = gretrace(b, "respond", *arguments)
            assert (done.exit_code, done.stdout) == (code, ""), arguments
            assert done.stderr.count("\n") == 1, done.stderr
            assert words in done.stderr
        assert "kernel's fallback device" in gretrace(b, "respond", "gre0").stderr
        down = gretrace(b, "respond", "any1")
        assert "any1 is down" in down.stderr
        # All that can be answered: not the fallback, not Ethernet, not external.
        done = gretrace(b, "respond", "--all", "-o", "json")
        assert [r["name"] for r in done.records] == ["gre1", "any1"]


def test_tunnels_lists_what_there_is():
    with pair() as (a, b):
        tunnel_b(b, "ikey 1 okey 2 icsum")
        a.send("va", gre_packet(A, B, key=1), times=3)
        records = {r["name"]: r for r in gretrace(b, "tunnels", "-o", "json").records}
        ours = records["gre1"]
        assert (ours["local"], ours["remote"]) == (B, A)
        assert (ours["ikey"], ours["okey"], ours["up"], ours["kind"]) == (1, 2, True, "gre")
        assert ours["errors"] == {"checksum flag differs": 3}
        assert ours["responder"] is None
        assert records["gre0"]["fallback"]
        table = gretrace(b, "tunnels").stdout
        assert "1 in, 2 out" in table
        assert "3 checksum flag differs" in table
        assert ip_address(ours["local"]).version == 4


def wait_for(session, condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert session.alive(), session.stderr
        assert time.monotonic() < deadline, session.stderr
        time.sleep(0.05)


def test_following_shows_what_is_answered_and_what_is_refused():
    with pair() as (a, b):
        tunnel_b(b)
        arguments = ("respond", "gre1", "--follow", "-o", "json")
        with running(b, *arguments) as quiet:
            a.send("va", gre_packet(A, B, answer(B, A)))
            a.send("va", gre_packet(A, B, answer(B, "9.9.9.9")))
            a.send("va", gre_packet(A, B))
            wait_for(quiet, lambda: len(quiet.records) == 3)
            seen = [(r["tunnel"], r["outcome"], r["src"], r["dst"]) for r in quiet.records[1:]]
            assert seen == [("gre1", "answered", B, A), ("gre1", "foreign", B, "9.9.9.9")]
            assert quiet.stop() == 0
        # Verbose, it shows every packet; and what was shown before is not shown again.
        with running(b, *arguments, "-v") as verbose:
            a.send("va", gre_packet(A, B))
            wait_for(verbose, lambda: len(verbose.records) == 2)
            assert verbose.records[1]["outcome"] == "passed"
            assert len(verbose.records[1]["header"]) == 64
        table = gretrace(b, "tunnels").stdout
        assert re.search(r"tc, 1 answered, 1 refused, last answered \d+ (s|min) ago", table)


def test_watching_attaches_to_each_tunnel_as_it_is_created():
    with pair() as (a, b), running(b, "respond", "--all", "--watch") as session:
        tunnel_b(b)
        wait_for(session, lambda: "gre1: answered by" in session.stderr)
        with listen(a, "va") as wire:
            a.send("va", gre_packet(A, B, answer(B, A)))
            hear(wire, B, 1)
        b.ip("link del gre1")
        tunnel(b, f"local {B} remote {A} key 3", name="gre2")
        wait_for(session, lambda: "gre2: answered by" in session.stderr)
        # A tunnel whose addresses change is followed too.
        b.ip(f"link change gre2 type gre local {B} remote 20.1.1.9 key 3")
        assert session.stop() == 0
        # It stays when the command ends.
        assert "tc, 0 answered" in gretrace(b, "tunnels").stdout


def test_a_changed_tunnel_is_still_shown_verbosely():
    """That a changed tunnel is told to its responder takes nothing from who listens."""
    arguments = ("respond", "gre1", "--watch", "--follow", "-v", "-o", "json")
    with pair() as (a, b):
        tunnel(b, f"local {B} remote 20.1.1.9", address=INNER_B)
        with running(b, *arguments) as session:
            b.ip(f"link change gre1 type gre local {B} remote {A} ttl 255")

            def is_told():
                # Of another peer, it would be foreign.
                a.send("va", gre_packet(A, B, answer(A, B)))
                return "own-answer" in [record.get("outcome") for record in session.records]

            wait_for(session, is_told)
            a.send("va", gre_packet(A, B))
            wait_for(session, lambda: session.records[-1]["outcome"] == "passed")


# IP protocol numbers of what goes over the wire.
GRE, ESP = 47, 50


def protect(host, us, them, *directions, level="required", states=True):
    """Have a host send and want GRE by ESP in transport mode, which hides nothing from a test."""
    if states:
        for source, destination, spi in ((us, them, 1), (them, us, 2)):
            # Alike on both hosts.
            number = spi if us in (B, B6) else 3 - spi
            host.shell(
                f"ip xfrm state add src {source} dst {destination} proto esp spi {number:#x} "
                f"reqid 1 mode transport auth 'hmac(sha1)' 0x{'2b' * 20} "
                "enc 'ecb(cipher_null)' ''"
            )
    for direction in directions:
        source, destination = (us, them) if direction == "out" else (them, us)
        host.shell(
            f"ip xfrm policy add src {source} dst {destination} proto gre dir {direction} "
            f"tmpl proto esp reqid 1 mode transport level {level}"
        )


def send_by_ipsec(host, packet):
    """Send an IP packet of GRE as the host's own policies have it."""
    parsed = parse_packet(packet)
    family = socket.AF_INET if parsed.family == 4 else socket.AF_INET6
    with entered(host.namespace):
        sender = socket.socket(family, socket.SOCK_RAW, GRE)
    with sender:
        sender.sendto(packet[20 if parsed.family == 4 else 40 :], (str(parsed.local), 0))


def arrivals(wire):
    """What GRE and ESP comes until it is silent: protocol, and bytes from the IP header on."""
    heard = []
    wire.settimeout(1)
    while True:
        try:
            frame, origin = wire.recvfrom(4096)
        except TimeoutError:
            return heard
        packet = parse_packet(frame[ETHERNET_SIZE:])
        outgoing = origin[2] == socket.PACKET_OUTGOING
        if packet and not outgoing and packet.protocol in (GRE, ESP):
            heard.append((packet.protocol, frame[ETHERNET_SIZE:]))


V4, ANY, V6 = (
    Kind(f"local {B} remote {A} ttl 255"),
    Kind(f"local {B} remote any ttl 255"),
    Kind(f"local {B6} remote {A6} encaplimit none ttl 255", kind="ip6gre"),
)
# The tunnel, B's policies, whether the keepalive comes by ESP, and what the answer leaves as.
UNDER_IPSEC = {
    "both ways": (V4, ("in", "out"), True, ESP),
    "both ways, and a keepalive that evades it": (V4, ("in", "out"), False, None),
    "out only": (V4, ("out",), False, ESP),
    "in only": (V4, ("in",), True, GRE),
    "remote any": (ANY, ("in", "out"), True, ESP),
    "remote any, and a keepalive that evades it": (ANY, ("in", "out"), False, None),
}
if not SHOWS_OUTER_HEADERS:
    UNDER_IPSEC["over IPv6"] = (V6, ("in", "out"), True, ESP)


@pytest.mark.parametrize(
    ("kind", "directions", "by_esp", "leaves"), UNDER_IPSEC.values(), ids=UNDER_IPSEC
)
def test_ipsec_covers_the_answer_as_all_that_a_tunnel_sends(kind, directions, by_esp, leaves):
    with pair() as (a, b):
        with_ipv6(a, b)
        make(b, kind)
        peer, here = kind.ends
        protect(a, peer, here, "out")
        protect(b, here, peer, *directions)
        done = gretrace(b, "respond", "gre1")
        assert done.exit_code == 0, done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        size = 128 if kind is V6 else 32
        came = f"policy in {peer}/{size} > {here}/{size}"
        went = f"policy out {here}/{size} > {peer}/{size}"
        if "in" in directions:
            assert f"outside it are dropped before the tunnel sees them ({came})" in done.stderr
        else:
            assert "answered whether they come by it or not;" in done.stderr
        if "out" in directions:
            assert f"answers leave by it, as all that the tunnel sends ({went})" in done.stderr
        else:
            assert "answers leave in plain text, as all that the tunnel sends" in done.stderr
        packet, carried = kind.keepalive()
        with listen(a, "va") as wire:
            if by_esp:
                send_by_ipsec(a, packet)
            else:
                a.send("va", packet)
            heard = arrivals(wire)
        assert [protocol for protocol, _ in heard] == ([leaves] if leaves else [])
        assert all(carried in frame for _, frame in heard)


# Only such a kernel has a tunnel that needs the program which answers on the wire.
if SHOWS_OUTER_HEADERS:

    def test_no_answer_goes_past_ipsec():
        """What answers on the wire asks no policy, so it gets no tunnel that has one."""
        with pair() as (a, b):
            with_ipv6(a, b)
            make(b, V6)
            assert gretrace(b, "respond", "gre1", "-o", "json").records[0]["responder"]["hook"] == (
                "tc-wire"
            )
            protect(a, A6, B6, "out")
            protect(b, B6, A6, "in")
            packet, _ = V6.keepalive()
            with listen(a, "va") as wire:
                send_by_ipsec(a, packet)
                # Not even as something that has lost its addresses.
                assert arrivals(wire) == []
            protect(b, B6, A6, "out", states=False)
            refused = gretrace(b, "respond", "gre1")
            assert (refused.exit_code, refused.stdout) == (4, "")
            assert (
                "in plain text past IPsec (policy out fd00::1/128 > fd00::2/128)" in refused.stderr
            )
            # It does not go on meanwhile.
            (record,) = [
                r for r in gretrace(b, "tunnels", "-o", "json").records if r["name"] == "gre1"
            ]
            assert record["responder"] is None
