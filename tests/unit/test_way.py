# SPDX-License-Identifier: GPL-2.0-only
"""The model of the kernel's way: it names the step of every case, forward as well as back."""

from dataclasses import replace

import pytest

from gretrace.kernel import receive, send, stack
from gretrace.kernel.lookup import Tables
from gretrace.kernel.passage import Passage
from gretrace.kernel.receive import WAYS
from gretrace.kernel.receiver import Ended, Receiver
from gretrace.kernel.way import By, Free, Way, step
from gretrace.model import Place
from gretrace.verdicts import CAUSES
from gretrace.wire.packet import parse_packet
from tests.frames import gre, gre_packet, ipv4, ipv6, udp
from tests.unit.cases import A, B, drop, tunnel
from tests.unit.test_verdicts import EXPECTED

CAUSE = {cause.name: cause for cause in CAUSES}
JUDGED = {name: judged for name, (judged, _) in EXPECTED.items()}
KNOWN = {
    name: judged
    for name, judged in JUDGED.items()
    if CAUSE[name.partition(",")[0]].steps and not CAUSE[name.partition(",")[0]].last_resort
}
A6, B6 = "fd00::2", "fd00::1"
TEB, ERSPAN, ERSPAN2, WCCP = 0x6558, 0x88BE, 0x22EB, 0x883E
FRAME = bytes(12) + b"\x08\x00" + udp("10.10.10.2", "10.10.10.1")
VLAN = bytes(12) + b"\x81\x00\x00\x05\x08\x00" + udp("10.10.10.2", "10.10.10.1")


@pytest.mark.parametrize("name", KNOWN)
def test_back_from_the_place_to_the_step_of_the_cause(name):
    judged = KNOWN[name]
    assert judged.steps
    assert judged.is_at(*CAUSE[name.partition(",")[0]].steps), judged.steps


def forward(judged, name):
    """Where the model says that a packet ends, with the state that a drop does not tell."""
    if receive.WAYS[judged.passage.family or 4].can_free(judged.drop):
        last = 9 if name.startswith("sequence-old") else 0
        passage = replace(judged.passage, sequences=dict.fromkeys(range(64), last))
        return WAYS[passage.family or 4].walk(passage)
    if send.WAY.can_free(judged.drop):
        return send.WAY.walk(judged.sending)
    family = judged.packet.family if judged.packet else 4
    return stack.WAYS[family].walk(judged.stay)


@pytest.mark.parametrize("name", KNOWN)
def test_forward_to_the_step_of_the_cause(name):
    judged = KNOWN[name]
    outcome = forward(judged, name)
    assert {outcome.step, *outcome.doubts} & set(CAUSE[name.partition(",")[0]].steps), outcome


def test_a_state_that_is_known_leaves_no_doubt():
    old = gre_packet(A, B, sequence=3)
    ours = tunnel(iseq=True)
    ended = Receiver(Tables([ours]), sequences={ours.ifindex: 9}).receive(parse_packet(old), 0)
    assert ended.step is receive.old_sequence
    group = gre_packet(B, "239.1.1.1")
    looped = next(j for n, j in JUDGED.items() if n == "multicast-loop")
    assert looped.steps == (receive.multicast_loop,)
    assert Receiver(looped.tables, looped.host).receive(parse_packet(group), 0).step is (
        receive.multicast_loop
    )


def six(payload=b"", *, tos=0, protocol=0x0800, **header):
    packet = bytearray(ipv6(A6, B6, 47, gre(payload, protocol=protocol, **header)))
    packet[0:2] = (0x6000 | tos << 4).to_bytes(2, "big")
    return bytes(packet)


def session(version, number=5):
    return (version << 28 | number).to_bytes(4, "big") + bytes({1: 4, 2: 8}.get(version, 0))


GRETAP, PLAIN, EXTERNAL = tunnel(kind="gretap"), tunnel(), tunnel(external=True)
SPAN = tunnel(kind="erspan", key=5)
OVER6 = {"local": B6, "remote": A6}
PLAIN6, TAP6 = tunnel(kind="ip6gre", **OVER6), tunnel(kind="ip6gretap", **OVER6)
SPAN6 = tunnel(kind="ip6erspan", key=5, **OVER6)
ANY6 = tunnel(kind="ip6gretap", local=None, remote=None, external=True)


@pytest.mark.parametrize(
    ("packet", "ours", "expected"),
    [
        # WCCP wants to see one byte, and takes four more off if it is not IP's first.
        (gre_packet(A, B, bytes(8), protocol=WCCP), PLAIN, receive.cut_inside),
        (gre_packet(A, B, bytes(8) + FRAME[14:], protocol=WCCP), PLAIN, None),
        (six(b"", protocol=WCCP), PLAIN6, receive.cut_own_header),
        (six(b"\0", protocol=WCCP), PLAIN6, receive.cut_frame_before_lookup),
        (six(FRAME[14:50], protocol=WCCP), PLAIN6, receive.cut_inside),
        (gre_packet(A, B, session(1) + FRAME, protocol=ERSPAN, sequence=1), SPAN, None),
        (gre_packet(A, B, session(2) + FRAME, protocol=ERSPAN2, sequence=1), SPAN, None),
        (gre_packet(A, B, session(1, 6) + FRAME, protocol=ERSPAN, sequence=1), SPAN,
         receive.no_tunnel),
        (gre_packet(A, B, session(1)[:3], protocol=ERSPAN, sequence=1, key=1), SPAN,
         receive.cut_own_header),
        (gre_packet(A, B, session(1)[:4], protocol=ERSPAN, sequence=1), SPAN, receive.cut_erspan),
        (gre_packet(A, B, session(1) + FRAME[:13], protocol=ERSPAN, sequence=1), SPAN,
         receive.cut_erspan),
        (gre_packet(A, B, session(1) + FRAME[:20], protocol=ERSPAN, sequence=1), SPAN,
         receive.cut_inside),
        (gre_packet(A, B, session(1) + FRAME, protocol=ERSPAN, sequence=1, tos=3), SPAN,
         receive.congestion_mark),
        # Type I has no session, so only a tunnel without a key takes it.
        (gre_packet(A, B, FRAME, protocol=ERSPAN), SPAN, receive.no_tunnel),
        (gre_packet(A, B, FRAME, protocol=ERSPAN), tunnel(kind="erspan"), None),
        (gre_packet(A, B, FRAME[:13], protocol=TEB), GRETAP, receive.cut_frame),
        (gre_packet(A, B, FRAME[:13], protocol=TEB), EXTERNAL, None),
        (gre_packet(A, B, FRAME, protocol=TEB, tos=3), EXTERNAL, None),
        (gre_packet(A, B, FRAME, protocol=TEB, tos=3), GRETAP, receive.congestion_mark),
        (six(FRAME[:13], protocol=TEB), TAP6, receive.cut_frame_before_lookup),
        (six(FRAME[:13], protocol=TEB), PLAIN6, receive.cut_frame_before_lookup),
        (six(FRAME[:20], protocol=TEB), TAP6, receive.cut_inside),
        (six(session(1) + FRAME[:13], protocol=ERSPAN, sequence=1), SPAN6, receive.cut_erspan),
        (six(session(1) + FRAME, protocol=ERSPAN, sequence=1), SPAN6, None),
        # What an external tunnel for frames takes over IPv6 need not be one.
        (six(bytes(13)), ANY6, receive.cut_frame_over_ipv6),
        (six(FRAME[14:], tos=3), PLAIN6, receive.congestion_mark),
        (six(FRAME[14:34], tos=3), PLAIN6, receive.congestion_mark),
        (six(FRAME[14:33], tos=3), PLAIN6, receive.cut_inside),
        (six(b"", flags=0x08), PLAIN6, receive.cut_inside),
        (six(b"", flags=0x04), PLAIN6, receive.refused_flags),
        (gre_packet(A, B, flags=0x0100), PLAIN, None),
        (gre_packet(A, B, bytes(20), protocol=0x8847, tos=3), PLAIN, None),
    ],
)  # fmt: skip
def test_where_a_packet_ends(packet, ours, expected):
    outcome = Receiver(Tables([ours])).receive(parse_packet(packet), 0)
    assert (outcome.step if isinstance(outcome, Ended) else None) is expected, outcome


def test_of_a_tagged_frame_the_mark_is_not_known():
    packet = parse_packet(gre_packet(A, B, VLAN, protocol=TEB, tos=3))
    outcome = WAYS[4].walk(Passage(packet, Tables([GRETAP])))
    assert outcome.step is None
    assert receive.congestion_mark in outcome.doubts


def test_what_was_not_captured_is_not_known():
    whole = gre_packet(A, B, session(1) + FRAME, protocol=ERSPAN, sequence=1)
    for size, takes in ((31, False), (32, True), (40, True)):
        outcome = Receiver(Tables([SPAN])).receive(parse_packet(whole[:size], len(whole)), 0)
        assert (outcome is SPAN) == takes, size
        assert outcome in (SPAN, None)


def test_the_last_number_is_kept_of_a_packet_that_ends_later():
    host = Receiver(Tables([tunnel(iseq=True)]))
    cut = parse_packet(gre_packet(A, B, b"\x45" * 5, sequence=7))
    assert host.receive(cut, 0).step is receive.cut_inside
    assert host.sequences == {10: 8}
    host.receive(parse_packet(gre_packet(A, B, sequence=3)), 0)
    host.receive(parse_packet(gre_packet(A, B, sequence=9, checksum=True)), 0)
    assert host.sequences == {10: 8}


def test_over_ipv6_a_packet_that_ends_inside_is_the_tunnels():
    (ours, packet) = PLAIN6, parse_packet(six(FRAME[14:], tos=3))
    seen = Receiver(Tables([ours])).receive(packet, 7).drop(1, 2)
    assert (seen.on_tunnel, seen.is_pulled, seen.ifindex) == (True, False, ours.ifindex)
    assert str(seen.packet.remote) == "10.10.10.2"
    assert seen.place == Place("__ip6_tnl_rcv", "ip6_tunnel")


def test_how_a_free_is_told():
    one = Free(("f", "g_*"), "m", reasons=(None, "R"))
    for place, reason, fits in (
        (Place("f", "m"), None, True),
        (Place("f"), "R", True),
        (Place("f", "n"), "R", False),
        (Place("g_anything", "m"), "R", True),
        (Place("fg", "m"), "R", False),
        (Place("f", "m"), "NOT_SPECIFIED", False),
    ):
        assert one.matches(drop(place=place, reason=reason), 4) is fits, (place, reason)
    assert not replace(one, family=6).matches(drop(place=Place("f", "m"), reason=None), 4)
    by_reason = Free(reasons=("R",))
    assert by_reason.matches(drop(place=Place("whatever"), reason="R"), 4)
    looks = {
        by: [by.fits(drop(on_tunnel=t, is_pulled=p)) for t, p in ((0, 0), (0, 1), (1, 0))]
        for by in By
    }
    assert looks == {
        By.ANYHOW: [True, True, True],
        By.OUTER: [True, False, True],
        By.UNDERLAY: [True, False, False],
        By.PULLED: [False, True, False],
        By.INNER: [False, False, True],
    }


def test_several_steps_share_a_place_until_one_is_known():
    answers = {"first": None, "second": None, "third": None}
    here = Free(("f",))
    way = Way(4, tuple(
        step(free)(_named(name, lambda _, name=name: answers[name]))
        for name, free in (("first", here), ("second", Free(("g",))), ("third", here))
    ))  # fmt: skip
    first, second, third = way.steps
    freed = drop(place=Place("f"))
    assert way.fitting(None, freed) == (first, third)
    answers["third"] = True
    assert way.fitting(None, freed) == (third,)
    assert way.walk(None).doubts == (first, second)
    answers.update(first=False, third=False)
    assert way.fitting(None, freed) == ()
    # A reason that names a step holds, whatever is known by now.
    told = replace(third, frees=(Free(("f",), reasons=("R",), is_told=True),))
    told_way = Way(4, (first, second, told))
    assert told_way.fitting(None, drop(place=Place("f"), reason="R")) == (told,)


def _named(name, function):
    function.__name__ = name
    return function


@pytest.mark.parametrize(("size", "is_short"), [(4, True), (11, True), (12, False)])
def test_the_demultiplexer_wants_12_bytes(size, is_short):
    packet = parse_packet(ipv4(A, B, 47, gre(bytes(size - 4), protocol=0)))
    outcome = Receiver(Tables([PLAIN])).receive(packet, 0)
    assert (isinstance(outcome, Ended) and outcome.step is receive.too_short) == is_short


def test_a_bare_answer_never_comes_to_a_tunnel():
    packet = parse_packet(ipv4(A, B, 47, gre(b"", protocol=0)))
    assert Receiver(Tables([PLAIN])).receive(packet, 0).step is receive.too_short
