# SPDX-License-Identifier: GPL-2.0-only
"""The responder on packets of every kind: what it answers, and what it leaves alone."""

import os
import random
import time
from contextlib import closing
from ipaddress import ip_address

import pytest

from gretrace.engine.contract import (
    RESPONDER_RATE,
    ResponderCounters,
    ResponderDialect,
    ResponderOutcome,
)
from gretrace.engine.core import open_object
from gretrace.engine.maps import read_element, write_element
from gretrace.host.tunnels import Route
from gretrace.keepalive import responder as responders
from gretrace.keepalive.responder import Inside, make_config
from gretrace.model import Tunnel
from tests.bpf.testrun import TC_ACT_REDIRECT, TC_ACT_UNSPEC, XDP_PASS, XDP_TX, run_program
from tests.frames import answer, gre, ipv4, ipv6, udp

if os.geteuid() != 0:
    pytest.skip("loading BPF programs needs root", allow_module_level=True)

LOCAL, REMOTE = "20.1.1.1", "20.1.1.2"
LOCAL6, REMOTE6 = "fd00::1", "fd00::2"
STRANGER = "9.9.9.9"
ETHERNET = {4: bytes(12) + b"\x08\x00", 6: bytes(12) + b"\x86\xdd"}
FUZZ = 100_000
STRICT = ResponderDialect(0)
# The kernel runs tc programs on nothing shorter than an IP header.
LEAST = {"tc": 20, "xdp": 14}


class Responder:
    """The loaded program behind one of its programs, for a tunnel."""

    def __init__(self, loaded, variant, tunnel=None, dialects=STRICT, inside=None):
        self.loaded, self.variant = loaded, variant
        self.fd = loaded.program_fd(f"gretrace_{variant}")
        self.map = loaded.map_fd("config")
        if tunnel:
            write_element(self.map, make_config(tunnel, dialects, inside))
        self.before = self.outcomes()

    def outcomes(self):
        counters = ResponderCounters()
        read_element(self.loaded.map_fd("counters"), counters)
        return list(counters.packets)

    def answers(self, packet):
        """Whether it answers, having checked that it left the packet alone."""
        frame = (
            packet
            if self.variant == "xdp"
            else ETHERNET[6 if packet[0] >> 4 == 6 and len(packet) >= 40 else 4] + packet
        )
        verdict, after, _ = run_program(self.fd, frame)
        assert after == frame
        if self.variant == "xdp":
            assert verdict in (XDP_PASS, XDP_TX)
            return verdict == XDP_TX
        assert verdict in (TC_ACT_UNSPEC, TC_ACT_REDIRECT)
        return verdict == TC_ACT_REDIRECT

    def outcome(self, packet):
        """What the program says that the packet was."""
        before = self.outcomes()
        answered = self.answers(packet)
        changed = [
            i for i, (a, b) in enumerate(zip(before, self.outcomes(), strict=True)) if a != b
        ]
        found = ResponderOutcome(changed[0]) if changed else ResponderOutcome.PASSED
        assert answered == (found is ResponderOutcome.ANSWERED)
        return found


def tunnel(local=LOCAL, remote=REMOTE, **more):
    kind = "ip6gre" if local and ":" in local else "gre"
    return Tunnel(
        "gre1", 10, 1, kind,
        local=ip_address(local) if local else None,
        remote=ip_address(remote) if remote else None,
        **more,
    )  # fmt: skip


@pytest.fixture(params=["tc", "xdp"])
def variant(request):
    return request.param


@pytest.fixture
def loaded():
    with closing(open_object("keepalive")) as made:
        made.load()
        yield made


@pytest.fixture
def responder(loaded, variant):
    return Responder(loaded, variant, tunnel())


ANSWERED = {
    "plain": answer(LOCAL, REMOTE),
    "keyed inside": answer(LOCAL, REMOTE, key=7),
    "with checksum": answer(LOCAL, REMOTE, checksum=True),
    "with sequence": answer(LOCAL, REMOTE, sequence=9),
    "with everything": answer(LOCAL, REMOTE, key=7, checksum=True, sequence=9),
    "with IP options": ipv4(LOCAL, REMOTE, 47, gre(b"", protocol=0), options=b"\x01" * 40),
    "with one IP option": ipv4(LOCAL, REMOTE, 47, gre(b"", protocol=0), options=b"\x94\x04\0\0"),
    "marked": ipv4(LOCAL, REMOTE, 47, gre(b"", protocol=0), tos=0xC0, ttl=1),
    "of OpenBSD": ipv4(LOCAL, REMOTE, 47, gre(bytes(range(16)), protocol=0)),
}


@pytest.mark.parametrize("packet", ANSWERED.values(), ids=ANSWERED)
def test_a_keepalive_is_answered(responder, packet):
    assert responder.outcome(packet) is ResponderOutcome.ANSWERED


ANSWERED6 = {
    "protocol 0x86dd, as RouterOS": answer(LOCAL6, REMOTE6, protocol=0x86DD),
    "protocol 0": answer(LOCAL6, REMOTE6),
    "keyed": answer(LOCAL6, REMOTE6, protocol=0x86DD, key=5),
}


@pytest.mark.parametrize("packet", ANSWERED6.values(), ids=ANSWERED6)
def test_a_keepalive_over_ipv6_is_answered(loaded, variant, packet):
    ours = Responder(loaded, variant, tunnel(LOCAL6, REMOTE6))
    assert ours.outcome(packet) is ResponderOutcome.ANSWERED


OTHER = {
    "traffic": (udp("10.10.10.2", "10.10.10.1"), "PASSED"),
    "IPv6 traffic": (ipv6(REMOTE6, LOCAL6, 17, bytes(16)), "PASSED"),
    "a tunnel in the tunnel": (
        ipv4(LOCAL, REMOTE, 47, gre(udp("1.1.1.1", "2.2.2.2"))), "PASSED",
    ),
    "an IPv6 tunnel in the tunnel": (
        ipv6(LOCAL6, REMOTE6, 47, gre(bytes(40), protocol=0x86DD)), "PASSED",
    ),
    "a later fragment": (ipv4(LOCAL, REMOTE, 47, gre(b"", protocol=0), fragment=8), "PASSED"),
    "a first fragment": (
        ipv4(LOCAL, REMOTE, 47, gre(b"", protocol=0), fragment=0x2000), "FRAGMENT",
    ),
    "its own answer": (answer(REMOTE, LOCAL), "OWN_ANSWER"),
    "with a payload": (ipv4(LOCAL, REMOTE, 47, gre(bytes(20), protocol=0)), "MALFORMED"),
    "with one byte more": (ipv4(LOCAL, REMOTE, 47, gre(bytes(17), protocol=0)), "MALFORMED"),
    "with bytes behind it": (answer(LOCAL, REMOTE) + b"x", "MALFORMED"),
    "for another peer": (answer(LOCAL, STRANGER), "FOREIGN"),
    "for another host": (answer(STRANGER, REMOTE), "FOREIGN"),
    "for others altogether": (answer("1.1.1.1", "2.2.2.2"), "FOREIGN"),
    "version 1": (ipv4(LOCAL, REMOTE, 47, gre(b"", protocol=0, flags=1)), "MALFORMED"),
    "routing bit": (ipv4(LOCAL, REMOTE, 47, gre(b"", protocol=0, flags=0x4000)), "MALFORMED"),
    "a wrong checksum": (
        answer(LOCAL, REMOTE)[:8] + b"\x01" + answer(LOCAL, REMOTE)[9:], "MALFORMED",
    ),
    "a field that is announced and not there": (
        ipv4(LOCAL, REMOTE, 47, gre(b"", protocol=0, flags=0x2000)), "TRUNCATED",
    ),
    "not even a GRE header": (ipv4(LOCAL, REMOTE, 47, b"\0\0"), "TRUNCATED"),
}  # fmt: skip


@pytest.mark.parametrize(("packet", "outcome"), OTHER.values(), ids=OTHER)
def test_anything_else_is_left_alone(responder, packet, outcome):
    # The least that the kernel lets a test run on.
    padded = packet + bytes(max(0, 14 - len(packet)))
    assert responder.outcome(padded) is ResponderOutcome[outcome]


def test_every_truncation_is_left_alone(responder):
    whole = answer(LOCAL, REMOTE, key=1, checksum=True, sequence=3)
    for size in range(LEAST[responder.variant], len(whole)):
        assert not responder.answers(whole[:size]), size
    assert responder.answers(whole)


def test_every_header_length_is_survived(responder):
    whole = answer(LOCAL, REMOTE)
    for words in range(16):
        packet = bytes([0x40 | words]) + whole[1:]
        assert responder.answers(packet) == (words == 5)


def test_two_responders_do_not_talk_to_each_other(loaded, variant):
    here = Responder(loaded, variant, tunnel())
    assert here.answers(answer(LOCAL, REMOTE))
    there = Responder(loaded, variant, tunnel(REMOTE, LOCAL))
    # What we send back arrives there as it left.
    assert there.outcome(answer(LOCAL, REMOTE)) is ResponderOutcome.OWN_ANSWER


def test_a_peer_behind_nat_only_by_choice(loaded, variant):
    private = answer(LOCAL, "192.168.5.15")
    assert not Responder(loaded, variant, tunnel()).answers(private)
    ours = Responder(loaded, variant, tunnel(), ResponderDialect.NAT)
    assert ours.answers(private)
    assert ours.answers(answer(LOCAL, REMOTE))
    assert not ours.answers(answer(STRANGER, REMOTE))


def test_the_inside_addresses_only_by_choice(loaded, variant):
    inside = Inside(ip_address("10.10.10.1"), ip_address("10.10.10.2"))
    keepalive = answer("10.10.10.1", "10.10.10.2")
    assert not Responder(loaded, variant, tunnel(), STRICT, inside).answers(keepalive)
    ours = Responder(loaded, variant, tunnel(), ResponderDialect.INSIDE, inside)
    assert ours.answers(keepalive)
    assert not ours.answers(answer("10.10.10.1", "10.10.10.9"))
    assert not ours.answers(answer("10.10.10.2", "10.10.10.1"))


def test_on_the_wire_only_a_frame_with_the_tunnels_outer_header_is_turned_round(loaded):
    """Past ESP in transport mode the outer header is not where it was; nothing may leave then."""
    ours = Responder(loaded, "wire")
    write_element(ours.map, make_config(tunnel(LOCAL6, REMOTE6), route=Route(device=1)))
    # A test run has no outer header in view: it is the keepalive's own that stands there.
    assert ours.outcome(answer(LOCAL6, REMOTE6)) is ResponderOutcome.MALFORMED


def nbma(source, destination, inner, **header):
    return ipv4(source, destination, 47, gre(inner, **header), ttl=250)


def test_with_the_outer_header_in_view_the_addresses_are_swapped(loaded):
    ours = Responder(loaded, "xdp", tunnel(remote=None))
    frame = nbma(REMOTE, LOCAL, answer(LOCAL, REMOTE))
    verdict, after, _ = run_program(ours.fd, frame)
    assert verdict == XDP_TX
    assert after[12:20] == frame[16:20] + frame[12:16]
    assert after[20:] == frame[20:]


OUTER = {
    "any peer that names itself": (nbma(STRANGER, LOCAL, answer(LOCAL, STRANGER)), True),
    "a peer that names another": (nbma(STRANGER, LOCAL, answer(LOCAL, REMOTE)), False),
    "not to us": (nbma(REMOTE, STRANGER, answer(STRANGER, REMOTE)), False),
    "traffic": (nbma(REMOTE, LOCAL, udp("10.10.10.2", "10.10.10.1")), False),
    "a key where the tunnel has none": (nbma(REMOTE, LOCAL, answer(LOCAL, REMOTE), key=1), False),
    "our own answer": (nbma(REMOTE, LOCAL, answer(REMOTE, LOCAL)), False),
}


@pytest.mark.parametrize(("frame", "answered"), OUTER.values(), ids=OUTER)
def test_whom_an_nbma_tunnel_answers(loaded, frame, answered):
    ours = Responder(loaded, "xdp", tunnel(remote=None))
    verdict, _, _ = run_program(ours.fd, frame)
    assert (verdict == XDP_TX) == answered


def test_a_keyed_nbma_tunnel_wants_the_keys_room(loaded):
    ours = Responder(loaded, "xdp", tunnel(remote=None, ikey=1, okey=1))
    with_key = nbma(REMOTE, LOCAL, answer(LOCAL, REMOTE), key=1)
    assert run_program(ours.fd, with_key)[0] == XDP_TX
    assert run_program(ours.fd, nbma(REMOTE, LOCAL, answer(LOCAL, REMOTE)))[0] == XDP_PASS


def test_with_no_map_filled_only_a_mirror_of_the_outer_header_is_answered(loaded):
    ours = Responder(loaded, "xdp")
    assert run_program(ours.fd, nbma(REMOTE, LOCAL, answer(LOCAL, REMOTE)))[0] == XDP_TX
    assert run_program(ours.fd, nbma(REMOTE, LOCAL, answer(LOCAL, STRANGER)))[0] == XDP_PASS


def test_random_packets_are_left_alone(responder):
    """Bytes at random, and keepalives with some of their bytes changed at random."""
    chance = random.Random(0)
    whole = answer(LOCAL, REMOTE)
    for _ in range(FUZZ):
        packet = bytearray(whole + chance.randbytes(chance.randrange(40)))
        for _ in range(chance.randrange(1, 6)):
            packet[chance.randrange(len(packet))] = chance.randrange(256)
        if chance.random() < 0.3:
            packet = bytearray(b"\x45" + chance.randbytes(chance.randrange(19, 80)))
        if responder.answers(bytes(packet)):
            # Whatever else changed, what is answered is ours to answer.
            assert packet[12:20] == whole[12:20]
            assert packet[9] == 47
            assert packet[6] & 0x3F == packet[7] == 0


def test_counters_are_exact_and_answers_are_rationed(responder):
    ethernet = b"" if responder.variant == "xdp" else ETHERNET[4]
    asked = 100_000
    began = time.monotonic()
    run_program(responder.fd, ethernet + answer(LOCAL, REMOTE), repeat=asked)
    took = time.monotonic() - began
    outcomes = responder.outcomes()
    answered, limited = (
        outcomes[ResponderOutcome.ANSWERED], outcomes[ResponderOutcome.LIMITED],
    )  # fmt: skip
    assert answered + limited == asked
    assert RESPONDER_RATE <= answered <= RESPONDER_RATE * (1 + took) + 2


@pytest.mark.parametrize("rate", [1, 10])
def test_the_rate_is_the_users(loaded, variant, rate):
    ours = Responder(loaded, variant)
    write_element(ours.map, make_config(tunnel(), rate=rate))
    outcomes = [ours.outcome(answer(LOCAL, REMOTE)) for _ in range(rate + 3)]
    assert outcomes[:rate] == [ResponderOutcome.ANSWERED] * rate
    assert outcomes[-1] is ResponderOutcome.LIMITED


def test_a_responder_that_goes_between_two_questions_is_none(monkeypatch):
    nobody = 0x7FFFFFFF
    monkeypatch.setattr(responders, "ours", lambda *_: nobody)
    assert responders.read(1) is None
