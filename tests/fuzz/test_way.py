# SPDX-License-Identifier: GPL-2.0-only
"""Forward and back agree: where the model ends a packet, the place leads back to the same step."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gretrace.kernel.lookup import Tables
from gretrace.kernel.receive import WAYS
from gretrace.kernel.receiver import Ended, Receiver
from gretrace.model import Tunnel
from gretrace.verdicts import CAUSES, Case, explain
from gretrace.wire.packet import parse_packet
from tests.frames import gre, ipv4, ipv6, udp
from tests.unit.cases import NETNS, VB, A, B, tunnel

A6, B6 = "fd00::2", "fd00::1"
TEB, ERSPAN, ERSPAN2, WCCP = 0x6558, 0x88BE, 0x22EB, 0x883E
FRAME = bytes(12) + b"\x08\x00" + udp("10.10.10.2", "10.10.10.1")
CARRIED = st.sampled_from([
    udp("10.10.10.2", "10.10.10.1"), ipv6("fd10::2", "fd10::1", 17, bytes(8)), FRAME,
    (1 << 28 | 7).to_bytes(4, "big") + bytes(4) + FRAME,
    (2 << 28 | 7).to_bytes(4, "big") + bytes(8) + FRAME,
    bytes(12) + b"\x81\x00\x00\x05" + FRAME[12:], b"", bytes(60),
])  # fmt: skip


@st.composite
def packets(draw):
    """GRE over IPv4 or IPv6, whole or cut, with fields as they come."""
    payload = draw(CARRIED)
    payload = payload[: draw(st.integers(0, len(payload)))] if draw(st.booleans()) else payload
    header = gre(
        payload,
        protocol=draw(st.sampled_from([0x0800, 0x86DD, TEB, ERSPAN, ERSPAN2, WCCP, 0])),
        key=draw(st.sampled_from([None, 0, 7])),
        sequence=draw(st.sampled_from([None, 1, 9])),
        checksum=draw(st.booleans()),
        flags=draw(st.sampled_from([0, 0, 0, 0, 1, 2, 0x08, 0x4000, 0x0100])),
    )
    if draw(st.integers(0, 5)) == 0:
        header = header[: draw(st.integers(0, len(header)))]
    elif draw(st.integers(0, 5)) == 0 and header:
        header = header[:-1] + bytes([header[-1] ^ 1])
    tos = draw(st.sampled_from([0, 1, 3]))
    if draw(st.booleans()):
        return ipv4(A, B, 47, header, tos=tos)
    packet = bytearray(ipv6(A6, B6, 47, header))
    packet[0:2] = (0x6000 | tos << 4).to_bytes(2, "big")
    return bytes(packet)


def ends(kinds, local, remote):
    return st.builds(
        tunnel,
        kind=st.sampled_from(kinds),
        local=st.sampled_from([local, None]),
        remote=st.sampled_from([remote, None]),
        key=st.sampled_from([None, 0, 7]),
        ifindex=st.integers(10, 13),
        up=st.booleans(),
        iseq=st.booleans(),
        icsum=st.booleans(),
        external=st.sampled_from([False, False, True]),
    )


TUNNELS = st.lists(
    ends(["gre", "gretap", "erspan"], B, A) | ends(["ip6gre", "ip6gretap", "ip6erspan"], B6, A6),
    max_size=4,
    unique_by=lambda one: one.ifindex,
)


@settings(max_examples=1500, deadline=None)
@given(packets(), TUNNELS, st.sampled_from([0, 5]))
def test_back_leads_to_where_forward_ended(data, tunnels, last):
    packet, tables = parse_packet(data), Tables(tunnels)
    host = Receiver(tables, sequences={t.ifindex: last for t in tunnels})
    outcome = host.receive(packet, VB)
    if not isinstance(outcome, Ended):
        assert outcome is None or isinstance(outcome, Tunnel)
        return
    drop = outcome.drop(NETNS, 1)
    assert WAYS[packet.family].can_free(drop)
    judged = Case(drop, tables, iif="vb")
    is_unknown = outcome.step.ends(judged.passage) is None
    if outcome.step not in judged.steps and is_unknown and len(judged.steps) == 1:
        # A drop does not tell the last sequence number; a later step that is known to end the
        # packet at the same place stands for both.
        return
    assert outcome.step in judged.steps, (outcome.step, judged.steps)
    named = next(cause for cause in CAUSES if cause.name == explain(judged).cause)
    assert named.last_resort or not named.steps or outcome.step in named.steps, named
