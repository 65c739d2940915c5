import ctypes

from gretrace.contract import DropKey, DropMark, DropStats
from gretrace.decode import decode_drop, parse_place
from gretrace.model import Place
from tests.frames import gre_packet

A, B = "20.1.1.2", "20.1.1.1"
REASONS = {2: "NOT_SPECIFIED"}


def records(*, marks=0, reason=2, place=b"gre_rcv+0x12d/0x560 [ip_gre]"):
    sample = gre_packet(A, B, key=2)
    key = DropKey(location=0xFFFF800000001234, reason=reason, netns=5, ifindex=7, marks=marks)
    stats = DropStats(
        count=3, first_ns=10, last_ns=20, length=len(sample), sample_length=len(sample)
    )
    ctypes.memmove(stats.sample, sample, len(sample))
    ctypes.memmove(stats.place, place, len(place))
    return bytes(key), bytes(stats)


def test_a_record_becomes_a_drop():
    drop = decode_drop(*records(marks=DropMark.ON_TUNNEL), REASONS, 1000)
    assert drop.place == Place("gre_rcv", "ip_gre")
    assert drop.reason == "NOT_SPECIFIED"
    assert (drop.netns, drop.ifindex, drop.count) == (5, 7, 3)
    assert (drop.first_ns, drop.last_ns) == (1010, 1020)
    assert drop.on_tunnel
    assert drop.packet.gre.key == 2


def test_a_reason_without_a_name_is_a_number():
    assert decode_drop(*records(reason=0x20001), REASONS, 0).reason == "reason 0x20001"


def test_a_kernel_without_reasons_has_none():
    assert decode_drop(*records(), {}, 0).reason is None


def test_places_are_read_as_the_kernel_writes_them():
    for text, place in [
        (b"gre_rcv+0x41/0xb0 [gre]\0junk", Place("gre_rcv", "gre")),
        (b"ip_rcv_finish_core.isra.0+0x234/0x430", Place("ip_rcv_finish_core")),
        (b"__netif_receive_skb_core.constprop.0+0x144/0x1080", Place("__netif_receive_skb_core")),
        (b"ip_tunnel_rcv.cold+0x1/0x2 [ip_tunnel]", Place("ip_tunnel_rcv", "ip_tunnel")),
        (b"", Place("0xffff")),
        (b"0xffffffffc0001234", Place("0xffff")),
        (b"\xff\xfe", Place("0xffff")),
    ]:
        assert parse_place(text, 0xFFFF) == place
