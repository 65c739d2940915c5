# SPDX-License-Identifier: GPL-2.0-only
"""What a host would have done with captured packets, and what is said of it."""

import json
from ipaddress import ip_address

import pytest

from gretrace.capture import Direction, Frame
from gretrace.cli import run
from gretrace.engine.wanted import Wanted
from gretrace.explain.reading import Reader, Scene
from gretrace.explain.replay import ReplayedHost
from gretrace.kernel.lookup import Tables
from gretrace.model import Encap
from gretrace.render.listing import Listed, to_lines
from gretrace.wire.packet import build_keepalive, internet_checksum
from tests.captures import ETHERNET, FROM_US, SECOND, SLL, Pcapng, ethernet, pcap, sll
from tests.frames import answer, gre, gre_packet, ipv4, ipv6, udp
from tests.unit.cases import NETNS, A, B, tunnel

A6, B6 = "fd00::2", "fd00::1"
SEQUENCED = tunnel(iseq=True)
TUNNEL6 = tunnel(local=B6, remote=A6, kind="ip6gre")
GRETAP = tunnel(kind="gretap")
DEMUX = ("gre_rcv", "gre", "outer")
RECEIVER = ("gre_rcv", "ip_gre", "outer")
PULLER = ("__ipgre_rcv", "ip_gre", "outer")
RECEIVER6 = ("gre_rcv", "ip6_gre", "outer")
REFUSED = ("ip_tunnel_rcv", "ip_tunnel", "outer")
UNPACKED = ("ip_tunnel_rcv", "ip_tunnel", "pulled")
REFUSED6 = ("__ip6_tnl_rcv", "ip6_tunnel", "outer")
UNPACKED6 = ("__ip6_tnl_rcv", "ip6_tunnel", "inner")
TEB = 0x6558


def replay(packets, *tunnels, lengths=None, step=SECOND, is_own=lambda _: False, **frame):
    """A host of these tunnels that has received IP packets, one a second."""
    known = Tables(tunnels), NETNS, lambda _name: None, lambda _drop: True
    host = ReplayedHost(*known, is_own)
    for number, packet in enumerate(packets):
        length = lengths[number] if lengths else len(packet)
        host.take(Frame(number * step, packet, length, **frame))
    return host


def look(drop):
    return "inner" if drop.on_tunnel else "pulled" if drop.is_pulled else "outer"


def places(host):
    return [
        (drop.place.function, drop.place.module, look(drop))
        for drop, _ in host.drops()
        for _ in range(drop.count)
    ]


def broken(packet):
    return packet[:-1] + bytes([packet[-1] ^ 1])


def gre6(payload=b"", *, tos=0, protocol=0x86DD, **header):
    packet = bytearray(ipv6(A6, B6, 47, gre(payload, protocol=protocol, **header)))
    packet[0:2] = (0x6000 | tos << 4).to_bytes(2, "big")
    return bytes(packet)


INNER6 = ipv6("fd01::2", "fd01::1", 59, b"")
FRAME = bytes(12) + b"\x08\x00" + udp("10.10.10.2", "10.10.10.1")


@pytest.mark.parametrize(
    ("packet", "table", "place"),
    [
        (answer(A, B), tunnel(), DEMUX),
        (gre_packet(A, B, flags=1), tunnel(), DEMUX),
        (gre_packet(A, B, flags=2), tunnel(), DEMUX),
        (gre_packet(A, B, flags=8), tunnel(), DEMUX),
        (gre_packet(A, B, flags=0x4000), tunnel(), RECEIVER),
        (broken(gre_packet(A, B, checksum=True)), tunnel(icsum=True), RECEIVER),
        (gre_packet(A, B, bytes(4), protocol=0x88CC, sequence=1), SEQUENCED, None),
        (ipv4(A, B, 47, gre(b"", key=1, sequence=1, checksum=True)[:12]), tunnel(), RECEIVER),
        (gre_packet(A, B, key=2), tunnel(key=1), RECEIVER),
        (gre_packet(A, B, key=1), tunnel(key=1, up=False), RECEIVER),
        (gre_packet(A, B, key=1), tunnel(key=1), None),
        (gre_packet(A, B), tunnel(icsum=True), REFUSED),
        (gre_packet(A, B, checksum=True), tunnel(), REFUSED),
        (gre_packet(A, B, checksum=True), tunnel(icsum=True), None),
        (gre_packet(A, B), SEQUENCED, REFUSED),
        (gre_packet(A, B, sequence=7), SEQUENCED, None),
        (gre_packet(A, B, tos=3), tunnel(), UNPACKED),
        (gre_packet(A, B, udp("1.1.1.1", "2.2.2.2", tos=1), tos=3), tunnel(), None),
        (gre_packet(A, B, tos=1), tunnel(), None),
        (gre_packet(A, B, udp("1.1.1.1", "2.2.2.2")[:19]), tunnel(), UNPACKED),
        (gre_packet(A, B, bytes(9), protocol=0x88CC), tunnel(), None),
        (gre_packet(A, B, FRAME, protocol=TEB), GRETAP, None),
        (gre_packet(A, B, FRAME, protocol=TEB, tos=3), GRETAP, UNPACKED),
        (gre_packet(A, B, FRAME[:20], protocol=TEB), GRETAP, UNPACKED),
        (gre_packet(A, B, FRAME[:13], protocol=TEB), GRETAP, PULLER),
        (gre_packet(A, B, FRAME, protocol=TEB, tos=3), tunnel(external=True), None),
        (gre_packet(A, B, bytes(3), protocol=0x883E), tunnel(), DEMUX),
        (gre6(INNER6), TUNNEL6, None),
        (gre6(), TUNNEL6, UNPACKED6),
        (gre6(INNER6, flags=1), TUNNEL6, RECEIVER6),
        (gre6(INNER6, flags=0x4000), TUNNEL6, RECEIVER6),
        (broken(gre6(INNER6, checksum=True)), TUNNEL6, RECEIVER6),
        (ipv6(A6, B6, 47, b"\0\0\x86"), TUNNEL6, RECEIVER6),
        (gre6(INNER6, key=5), TUNNEL6, RECEIVER6),
        (gre6(INNER6, checksum=True), TUNNEL6, REFUSED6),
        (gre6(INNER6, tos=3), TUNNEL6, UNPACKED6),
    ],
)  # fmt: skip
def test_a_packet_dies_where_the_kernel_frees_it(packet, table, place):
    host = replay([packet], table)
    assert places(host) == ([place] if place else [])
    assert sum(host.accepted.values()) == (place is None)


def test_a_drop_is_as_if_the_kernel_had_told_of_it():
    packet = gre_packet(A, B, key=2)
    ((drop, iif),) = replay([packet] * 3, tunnel(key=1)).drops()
    assert (drop.netns, drop.ifindex, drop.on_tunnel, drop.reason) == (NETNS, 0, False, None)
    assert (drop.packet.gre.key, drop.packet.length) == (2, len(packet))
    assert (drop.count, drop.first_ns, drop.last_ns) == (3, 0, 2 * SECOND)
    assert iif is None


def test_the_session_of_erspan_is_its_key():
    header = (0x1000 << 16 | 5).to_bytes(4, "big") + bytes(4) + FRAME
    packets = [gre_packet(A, B, header, protocol=0x88BE, sequence=1)]
    assert places(replay(packets, tunnel(kind="erspan", key=5, iseq=True))) == []
    assert places(replay(packets, tunnel(kind="erspan", key=6, iseq=True))) == [RECEIVER]


@pytest.mark.parametrize(
    ("numbers", "refused"),
    [
        ([5, 6, 7], 0),
        ([5, 4], 1),
        ([5, 5], 1),
        ([5, 9, 6, 10], 1),
        ([2**32 - 2, 2**32 - 1, 0, 1], 0),  # it wraps, and the kernel takes 0 for the first
        ([0, 2**31 + 1], 1),
        ([0, 2**31], 0),
        ([0, 0], 1),
    ],
)
def test_sequence_numbers_only_grow(numbers, refused):
    packets = [gre_packet(A, B, sequence=number) for number in numbers]
    assert places(replay(packets, SEQUENCED)) == [REFUSED] * refused


def test_each_tunnel_has_its_own_sequence():
    packets = [gre_packet(A, B, sequence=9, key=1), gre_packet(A, B, sequence=2, key=2)]
    one, two = (tunnel(key=k, ifindex=k, iseq=True) for k in (1, 2))
    assert places(replay(packets, one, two)) == []


@pytest.mark.parametrize(
    ("source", "destination", "table", "judged"),
    [
        (A, B, tunnel(key=9), True),
        ("9.9.9.9", B, tunnel(key=9), True),
        (A, "20.1.1.3", tunnel(key=9), True),
        ("9.9.9.9", "8.8.8.8", tunnel(key=9), True),
        (B, A, tunnel(key=9), False),
        (B, "9.9.9.9", tunnel(key=9), False),
        ("20.1.1.7", A, tunnel(key=9, local=None), False),
        (A, "20.1.1.7", tunnel(key=9, local=None), True),
        (B, "9.9.9.9", tunnel(key=9, remote=None), False),
        (A, "239.1.1.1", tunnel(key=9, remote="239.1.1.1"), True),
        (B, "239.1.1.1", tunnel(key=9, remote="239.1.1.1"), False),
        (A, B, None, True),
    ],
)
def test_only_what_this_host_received_is_judged(source, destination, table, judged):
    host = replay([gre_packet(source, destination)], *([table] if table else []))
    assert host.received == judged
    assert bool(places(host)) == judged


@pytest.mark.parametrize("direction", [Direction.OUT, Direction.PAST])
def test_the_direction_is_believed_where_it_is_told(direction):
    assert replay([gre_packet(A, B)], direction=direction).received == 0


def test_a_packet_that_was_cut_off_is_judged_as_far_as_that_goes():
    whole = gre_packet(A, B, key=2)
    for size, outcome in [(28, RECEIVER), (27, None), (22, None)]:
        host = replay([whole[:size]], tunnel(key=1), lengths=[len(whole)])
        assert places(host) == ([outcome] if outcome else []), size
        assert host.cut_off == (outcome is None), size
    checked = broken(gre_packet(A, B, checksum=True))
    host = replay([checked[:60]], tunnel(icsum=True), lengths=[len(checked)])
    assert places(host) == []
    assert host.cut_off == 0


def test_of_a_fragment_only_the_first_is_judged_and_never_its_checksum():
    first = ipv4(A, B, 47, gre(bytes(64), checksum=True, key=1)[:48], fragment=0x2000)
    later = ipv4(A, B, 47, bytes(48), fragment=6)
    assert places(replay([first, later], tunnel(key=1, icsum=True))) == []
    assert places(replay([first, later], tunnel(key=2, icsum=True))) == [RECEIVER]


@pytest.mark.parametrize("finished", [True, False])
def test_a_checksum_that_hardware_would_finish_is_no_fault(finished):
    """The sender's kernel left both to the device: veth, or a virtual machine's."""
    inner = bytearray(udp("10.10.10.2", "10.10.10.1"))
    pseudo = inner[12:20] + (len(inner) - 20).to_bytes(4, "big") + (17).to_bytes(4, "big")
    unfinished = internet_checksum(bytes(pseudo)) ^ 0xFFFF
    inner[26:28] = (unfinished ^ finished).to_bytes(2, "big")
    packet = broken(gre_packet(A, B, bytes(inner), checksum=True))
    host = replay([packet], tunnel(icsum=True))
    assert places(host) == ([RECEIVER] if finished else [])


def test_a_wrong_checksum_over_a_packet_that_is_too_short_for_one_of_its_own_is_a_fault():
    inner = bytearray(udp("10.10.10.2", "10.10.10.1"))
    inner[0] = 0x4F
    packet = broken(gre_packet(A, B, bytes(inner), checksum=True))
    assert places(replay([packet], tunnel(icsum=True))) == [RECEIVER]


def keepalive(local, remote, *, flags=0, key=0):
    return build_keepalive(ip_address(local), ip_address(remote), flags, key)


def unanswered(host):
    return [
        (drop.place.function, drop.on_tunnel, drop.ifindex, drop.count, iif)
        for drop, iif in host.drops()
    ]


KEEPALIVE, BARE = keepalive(B, A), answer(B, A)
NESTED = gre_packet(B, A, BARE)
OTHER = gre_packet(B, A)
MISSING = [("ip_rcv_finish_core", True, 10, 1, "gre1")]


@pytest.mark.parametrize(
    ("packets", "missing"),
    [
        ([KEEPALIVE, BARE], []),
        ([KEEPALIVE, NESTED], []),
        ([KEEPALIVE, OTHER, OTHER, OTHER], MISSING),
        ([KEEPALIVE, OTHER, OTHER, OTHER, BARE], MISSING),  # too late
        ([KEEPALIVE, OTHER, OTHER], []),  # the capture ends too early
        ([KEEPALIVE, keepalive(A, B), OTHER, OTHER], MISSING),  # our own keepalive is no answer
        ([KEEPALIVE, KEEPALIVE, BARE, OTHER, OTHER, OTHER], MISSING),
        ([gre_packet(A, B, answer(A, B)), OTHER, OTHER, OTHER], []),  # the answer to ours
    ],
)
def test_a_keepalive_is_answered_in_time_or_told(packets, missing):
    host = replay(packets, tunnel())
    found = unanswered(host)
    assert [entry for entry in found if entry[0] != "gre_rcv"] == missing
    assert host.unknown_keepalives == 0


OPENBSD = gre_packet(A, B, ipv4(B, A, 47, gre(bytes(range(16)), protocol=0)))
# Cloudflare's: of the addresses outside, and of those inside.
OUTSIDE, INSIDE = (ipv4(*ends, 1, bytes(8)) for ends in ((B, A), ("10.10.10.1", "10.10.10.2")))


@pytest.mark.parametrize(
    ("packets", "missing"),
    [
        ([OPENBSD, OTHER, OTHER, OTHER], MISSING),
        ([OPENBSD, ipv4(B, A, 47, gre(bytes(range(16)), protocol=0))], []),
        ([gre_packet(A, B, OUTSIDE), OTHER, OTHER, OTHER], MISSING),
        ([gre_packet(A, B, OUTSIDE), OUTSIDE, OTHER, OTHER, OTHER], []),
        ([gre_packet(A, B, OUTSIDE), OUTSIDE[:20] + b"\x08" + OUTSIDE[21:], *[OTHER] * 3], MISSING),
        ([gre_packet(A, B, INSIDE), OTHER, OTHER, OTHER], MISSING),
        ([gre_packet(A, B, INSIDE), gre_packet(B, A, INSIDE), OTHER, OTHER, OTHER], []),
        # Not this host's to answer: of a host behind it.
        ([gre_packet(A, B, ipv4("10.20.0.9", "10.10.10.2", 1, bytes(8))), *[OTHER] * 3], []),
    ],
)
def test_probes_of_other_makers_are_answered_in_time_or_told(packets, missing):
    own = ip_address("10.10.10.1")
    host = replay(packets, tunnel(), is_own=lambda address: address == own)
    assert unanswered(host) == missing


def test_a_health_check_is_told_as_one():
    packets = [gre_packet(A, B, OUTSIDE), OTHER, OTHER, OTHER]
    frames = [Frame(n * SECOND, p, len(p)) for n, p in enumerate(packets)]
    reader = Reader(Scene(Tables([tunnel()])), Wanted())
    reader.read(frames, None)
    output = Kept()
    assert reader.finish(output)
    (report,) = output.reports
    assert report.verdict.cause == "health-check-unanswered"
    assert report.verdict.finding.tunnel == "gre1"


def test_whether_an_address_is_the_hosts_is_asked_of_few():
    asked = []
    packets = [
        gre_packet(A, B, ipv4(f"10.{n >> 8}.{n & 255}.1", "10.9.9.9", 1, bytes(8)))
        for n in range(2000)
    ] * 2
    replay(packets, tunnel(), is_own=asked.append)
    assert len(asked) == 1024


def test_a_checksum_that_is_to_be_filled_in_is_not_held_against_the_packet():
    """Captured where it leaves, the field is empty: whatever else is wrong is told."""
    packet = bytearray(gre_packet(A, B, key=2, checksum=True))
    packet[24:26] = bytes(2)
    ours = tunnel(key=1, icsum=True)
    assert _cause_of(bytes(packet), ours) == "key-mismatch"
    packet[24:26] = b"\0\1"
    assert _cause_of(bytes(packet), ours) == "bad-checksum"


@pytest.mark.parametrize("before", [b"", b"\0\x2f\0\0", b"\x01\x2f\0\0" + bytes(4)])
def test_a_tunnel_in_udp_is_found_by_its_port(before):
    header = gre(udp("10.10.10.2", "10.10.10.1"), key=2)
    body = before + header
    ports = (40000).to_bytes(2, "big") + (5555).to_bytes(2, "big")
    packet = ipv4(A, B, 17, ports + (8 + len(body)).to_bytes(2, "big") + bytes(2) + body)
    ours = tunnel(key=1, encap=Encap("fou", dport=5555))
    # Ethernet pads it.
    assert _cause_of(packet + bytes(6), ours) == "key-mismatch"
    assert _cause_of(packet, tunnel(key=1, encap=Encap("fou", dport=5556))) is None
    assert _cause_of(packet, tunnel(key=1)) is None


def _cause_of(packet, *tunnels):
    reader = Reader(Scene(Tables(tunnels)), Wanted())
    reader.read([Frame(0, packet, len(packet))], None)
    output = Kept()
    reader.finish(output)
    causes = [report.verdict.cause for report in output.reports]
    return causes[0] if causes else None


class Kept:
    """What a reader shows."""

    def __init__(self):
        self.reports = []

    def show(self, _identity, report):
        self.reports.append(report)

    def finish(self, _totals, _heard):
        pass


def test_an_unanswered_keepalive_is_the_packet_that_it_carries():
    ((drop, _),) = replay([KEEPALIVE, OTHER, OTHER, OTHER], tunnel()).drops()
    assert str(drop.packet.remote) == B
    assert str(drop.packet.local) == A
    assert drop.packet.gre.protocol == 0
    assert drop.first_ns == drop.last_ns == 0


def test_unanswered_keepalives_of_a_tunnel_are_one_drop():
    host = replay([KEEPALIVE, OTHER, OTHER, OTHER] * 5, tunnel())
    assert unanswered(host) == [("ip_rcv_finish_core", True, 10, 5, "gre1")]


def test_without_anything_sent_nobody_can_tell():
    host = replay([KEEPALIVE] * 5, tunnel())
    assert unanswered(host) == []
    assert host.unknown_keepalives == 2


def test_keepalives_over_ipv6_are_those_of_routeros():
    packets = [keepalive(B6, A6), answer(B6, A6, protocol=0x86DD)]
    assert unanswered(replay(packets, TUNNEL6)) == []
    others = [ipv6(B6, A6, 47, gre(INNER6, protocol=0x86DD))] * 3
    assert unanswered(replay(packets[:1] + others, TUNNEL6)) == MISSING


def test_a_nested_answer_is_of_the_tunnel_whose_key_it_has():
    one, two = (tunnel(name=f"gre{k}", key=k, ifindex=k) for k in (1, 2))
    packets = [keepalive(B, A, flags=0x2000, key=k) for k in (1, 2)]
    packets += [gre_packet(B, A, BARE, key=2), *[OTHER] * 4]
    assert unanswered(replay(packets, one, two)) == [
        ("ip_rcv_finish_core", True, 1, 1, "gre1")
    ]  # fmt: skip


def test_what_comes_out_of_the_tunnel_is_not_taken_for_the_answer():
    """A capture of all devices has the inner packet too, as received on the tunnel."""
    host = ReplayedHost(Tables([tunnel()]), NETNS, lambda _name: None, lambda _drop: True)
    for number, (packet, direction) in enumerate(
        [(KEEPALIVE, "in"), (BARE, "in"), *[(OTHER, "out")] * 4]
    ):
        host.take(Frame(number * SECOND, packet, len(packet), direction=Direction(direction)))
    assert unanswered(host) == MISSING


class Shown:
    def __init__(self):
        self.reports = []

    def show(self, _identity, report):
        self.reports.append(report)

    def finish(self, totals, heard):
        self.heard = heard
        shown = [(r.verdict.cause, r.count) for r in self.reports]
        assert sorted((total.cause, total.count) for total in totals) == sorted(shown)


def explain(packets, *tunnels, wanted=None, limit=None):
    reader = Reader(Scene(Tables(tunnels), NETNS), wanted or Wanted())
    frames = (Frame(n * SECOND, packet, len(packet)) for n, packet in enumerate(packets))
    reader.read(frames, limit)
    shown = Shown()
    reader.finish(shown)
    return [(r.verdict.cause, r.verdict.finding.tunnel, r.count) for r in shown.reports], shown


@pytest.mark.parametrize(
    ("packet", "table", "cause"),
    [
        (gre_packet(A, B, key=2), tunnel(key=1), "key-mismatch"),
        (gre_packet(A, B), tunnel(key=1), "key-missing"),
        (gre_packet(A, B, key=0), tunnel(), "key-unexpected"),
        (gre_packet("9.9.9.9", B), tunnel(), "nat-remote"),
        (gre_packet(A, "20.1.1.3"), tunnel(), "local-mismatch"),
        (gre_packet(A, B), tunnel(up=False), "tunnel-down"),
        (gre_packet(A, B), tunnel(kind="gretap"), "wrong-type"),
        (gre_packet(A, B), None, "no-tunnel"),
    ],
)
def test_the_verdicts_are_those_of_the_live_command(packet, table, cause):
    outcome, _ = explain([packet] * 4, *([table] if table else []))
    name = table.name if table else None
    assert outcome == [(cause, name, 4)]


def test_a_tunnel_that_works_in_the_capture_is_not_the_one_behind_nat():
    outcome, shown = explain([gre_packet(A, B), gre_packet("9.9.9.9", B)], tunnel())
    assert outcome == [("no-tunnel", None, 1)]
    assert shown.heard == {"gre1": 1}


def test_a_tunnel_that_works_in_the_capture_is_not_to_be_changed():
    packets = [gre_packet(A, B, key=1), gre_packet(B, A, key=1), gre_packet(A, B, key=2)]
    _, shown = explain(packets, tunnel(key=1))
    (report,) = shown.reports
    assert "gre1 has sent 1 packet and received 1." in report.verdict.finding.evidence
    assert "ip link add dev gre2" in report.verdict.finding.fix[0].command.text


def test_the_filters_hold_for_captures():
    packets = [gre_packet(A, B, key=key) for key in (2, 2, 3)] + [gre_packet(A, B)]
    for wanted, count in [
        (Wanted(), 4),
        (Wanted(key=2), 2),
        (Wanted(no_key=True), 1),
        (Wanted(remote=ip_address(A)), 4),
        (Wanted(local=ip_address(A)), 0),
    ]:
        outcome, _ = explain(packets, tunnel(key=1), wanted=wanted)
        assert sum(number for *_, number in outcome) == count


def test_it_stops_after_as_many_as_were_asked_for():
    outcome, _ = explain([gre_packet(A, B, key=2)] * 9, tunnel(key=1), limit=4)
    assert outcome == [("key-mismatch", "gre1", 4)]


@pytest.fixture
def files(tmp_path):
    """Write a capture and a table; return the arguments that have them explained."""

    def write(capture, *tunnels):
        path, table = tmp_path / "capture", tmp_path / "tunnels.json"
        path.write_bytes(capture)
        table.write_text(to_lines([Listed(tunnel, {}, None) for tunnel in tunnels]))
        return ["explain-drop", "--read", str(path), "--tunnels", str(table)]

    return write


def test_a_capture_is_explained_as_json(capsys, files):
    packets = [(n * SECOND, ethernet(gre_packet(A, B, key=2))) for n in range(1, 4)]
    arguments = files(pcap(*packets, link=ETHERNET), tunnel(key=1))
    assert run([*arguments, "-o", "json"]) == 3
    out, err = capsys.readouterr()
    record = json.loads(out)
    assert record["cause"] == "key-mismatch"
    assert record["count"] == 3
    assert record["netns"] == NETNS
    assert record["iif"] is None
    assert record["tunnel"] == "gre1"
    assert record["first_seen"] == "1970-01-01T00:00:01.000000Z"
    assert record["time"] == "1970-01-01T00:00:03.000000Z"
    assert record["kernel"] == {"function": "gre_rcv", "module": "ip_gre", "reason": None}
    assert record["fix"][0]["command"].startswith("ip link change dev gre1 type gre")
    assert err == ""


def test_a_capture_is_explained_as_text(capsys, files):
    capture = Pcapng().interface(name=b"eth7").packet(10**6, ethernet(gre_packet(A, B, key=2)))
    assert run(files(capture.data, tunnel(key=1))) == 3
    out, _ = capsys.readouterr()
    assert "DROP key-mismatch gre1" in out
    assert "eth7" in out


def test_healthy_captures_say_what_was_heard(capsys, files):
    capture = pcap((0, sll(gre_packet(A, B))), (1, sll(gre_packet(B, A), FROM_US)), link=SLL)
    assert run(files(capture, tunnel())) == 0
    out, err = capsys.readouterr()
    assert out == "No GRE packet was dropped.\ngre1 received 1 packets meanwhile.\n"
    assert err == ""


@pytest.mark.parametrize(
    ("packets", "words"),
    [
        ([], "the capture is empty"),
        ([udp(A, B)] * 2, "none of the 2 packets of the capture is GRE"),
        ([gre_packet(B, A)], "none of the 1 GRE packets of the capture came to the host"),
        ([KEEPALIVE] * 4, "1 keepalives seen, but nothing that this host sent"),
        ([gre_packet(A, B)], None),
    ],
)
def test_what_a_capture_does_not_show_is_remarked(capsys, files, packets, words):
    capture = pcap(*((n * SECOND, packet) for n, packet in enumerate(packets)))
    assert run(files(capture, tunnel())) == 0
    _, err = capsys.readouterr()
    assert (words in err) if words else not err
    assert err.count("\n") == (words is not None)


def test_a_table_without_tunnels_is_remarked(capsys, files):
    assert run(files(pcap((0, gre_packet(A, B))))) == 3
    out, err = capsys.readouterr()
    assert "no-tunnel" in out
    assert "no GRE tunnel here; give those of another host with --tunnels" in err


def test_a_truncated_capture_is_shown_and_fails(capsys, files):
    capture = pcap((0, gre_packet(A, B, key=2)), (1, gre_packet(A, B)))[:-1]
    assert run([*files(capture, tunnel(key=1)), "-o", "json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["cause"] == "key-mismatch"
    assert err.startswith("gretrace: ")
    assert "ends in the middle of a record, after 1 packets; what could be read" in err
    assert err.count("\n") == 1


def test_what_is_no_capture_fails_in_one_line(capsys, files):
    assert run(files(b"no capture at all", tunnel())) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "is no capture; give a file in the format pcap or pcapng" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tunnels", "x.json"], "--tunnels needs --read; add it"),
        (["--read", "x", "--duration", "1"], "--duration cannot be given with --read"),
        (["--read", "x", "--iif", "eth0"], "--iif cannot be given with --read"),
        (["--read", "x", "--all-netns"], "--all-netns cannot be given with --read"),
        (["--read", "x", "--engine", "auto"], "--engine cannot be given with --read"),
        (["--read", "x", "--capacity", "16384"], "--capacity cannot be given with --read"),
        (["--read", "x", "--ready-file", "y"], "--ready-file cannot be given with --read"),
        (["--read", "x", "--tunnels", "y", "--netns", "z"], "contradict each other"),
        (["--read", "-", "--tunnels", "-"], "are both standard input"),
        (["--read", "/nowhere/x"], "cannot read /nowhere/x"),
        (["--read", "x", "--netns", "nowhere9"], "there is no network namespace 'nowhere9'"),
    ],
)
def test_what_makes_no_sense_with_a_capture(capsys, arguments, words):
    assert run(["explain-drop", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1
