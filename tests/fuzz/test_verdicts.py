# SPDX-License-Identifier: GPL-2.0-only
"""Whatever died wherever, among whatever tunnels: one verdict, in every form, never an error."""

import json
from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from gretrace.engine.decode import is_sent
from gretrace.explain.tally import tuple_of
from gretrace.kernel.lookup import Tables
from gretrace.kernel.wireguard import Peer, WireGuard
from gretrace.model import BridgePort, Label, Place, Report
from gretrace.render.record import to_record
from gretrace.render.text import Painter, block
from gretrace.verdicts import CAUSES, explain
from gretrace.wire.packet import parse_packet
from tests.frames import answer, gre, gre_packet, ipv4, ipv6, udp
from tests.unit.cases import VB, A, B, tunnel
from tests.unit.host import GRE1, LAN, FakeHost, at, by

A6, B6 = "fd00::2", "fd00::1"
UNSPECIFIED = (None, "NOT_SPECIFIED")
# Where packets of GRE die, and the reasons that kernels give there.
DEATHS = st.sampled_from([
    (Place(function, module), reason)
    for functions, module, reasons in (
        (("gre_rcv",), "gre", UNSPECIFIED),
        (("gre_rcv", "__ipgre_rcv"), "ip_gre", UNSPECIFIED),
        (("gre_rcv",), "ip6_gre", UNSPECIFIED),
        (("ip_tunnel_rcv", "ip_tunnel_xmit"), "ip_tunnel", UNSPECIFIED),
        (("__ip6_tnl_rcv", "ip6gre_tunnel_xmit"), None, UNSPECIFIED),
        (("ip_rcv_core",), None, (*UNSPECIFIED, "PKT_TOO_SMALL", "IP_CSUM", "IP_INHDR")),
        (("ip_rcv_finish_core",), None, (*UNSPECIFIED, "IP_RPFILTER", "IP_LOCAL_SOURCE")),
        (("ip6_rcv_core",), None, (*UNSPECIFIED, "IP_INHDR", "IPV6DISABLED")),
        (("ip_error", "ip6_pkt_drop"), None, (*UNSPECIFIED, "IP_INADDRERRORS", "IP_INNOROUTES")),
        (("ip_forward", "ip6_forward"), None, (*UNSPECIFIED, "IP_INADDRERRORS", "PKT_TOO_BIG")),
        (("ip_fragment",), None, (*UNSPECIFIED, "PKT_TOO_BIG")),
        (("nf_hook_slow", "nft_do_chain"), None, (*UNSPECIFIED, "NETFILTER_DROP")),
        (("neigh_invalidate",), None, (*UNSPECIFIED, "NEIGH_FAILED")),
        (("__netif_receive_skb_core",), None, (*UNSPECIFIED, "TC_INGRESS", "UNHANDLED_PROTO")),
        (("netif_receive_generic_xdp", "do_xdp_generic"), None, (*UNSPECIFIED, "XDP")),
        (("br_allowed_ingress", "br_handle_frame"), "bridge", UNSPECIFIED),
        (("br_handle_frame",), "bridge", ("BRIDGE_INGRESS_STP_STATE",)),
        (("wg_xmit", "wg_packet_purge_staged_packets"), "wireguard", UNSPECIFIED),
        (("mpls_forward",), "mpls_router", UNSPECIFIED),
        (("kfree_skb_list_reason",), None, UNSPECIFIED),
        (("ip_local_deliver_finish", "tunnel4_rcv"), None, (*UNSPECIFIED, "IP_NOPROTO")),
        (("ip_expire", "inet_frag_rbtree_purge"), None, (*UNSPECIFIED, "FRAG_REASM_TIMEOUT")),
        (("__udp4_lib_rcv",), None, (*UNSPECIFIED, "NO_SOCKET")),
        (("__dev_queue_xmit",), None, (*UNSPECIFIED, "QDISC_DROP", "RECURSION_LIMIT")),
        (("drop_func",), None, UNSPECIFIED),
        (("a_function_of_tomorrow",), None, (*UNSPECIFIED, "A_REASON_OF_TOMORROW")),
    )
    for function in functions
    for reason in reasons
])  # fmt: skip
SOUND = st.sampled_from([
    gre_packet(A, B), gre_packet(A, B, key=7), gre_packet(A, B, checksum=True, sequence=1),
    gre_packet(A, B, flags=0x4001), gre_packet(A, B, tos=3, protocol=0x6558), gre_packet(B, A),
    ipv6(A6, B6, 47, gre(udp("10.1.1.1", "10.1.1.2"), key=0)), udp("10.1.1.1", "10.1.1.2"),
    answer(B, A), answer(B6, A6, protocol=0x86DD), ipv4("127.0.0.1", B, 17, bytes(1480)),
    gre_packet(A, "224.0.0.5", protocol=4), ipv4(A, B, 47, gre(bytes(1400)), fragment=0x2000),
    ipv6(A6, B6, 60, bytes([47, 0, 4, 1, 0, 1, 1, 0]) + gre(b"x")),
    ipv4("10.1.1.2", "10.1.1.1", 89, bytes(44)),
])  # fmt: skip
# A sound packet cut off somewhere, or one with a byte that is wrong.
CUT = st.builds(lambda packet, size: packet[:size], SOUND, st.integers(0, 120))
MARRED = st.builds(
    lambda packet, place, value: packet[:place] + bytes([value]) + packet[place + 1 :],
    *(SOUND, st.integers(0, 47), st.integers(0, 255)),
)
TUNNELS = st.lists(
    st.builds(
        tunnel,
        name=st.sampled_from(["gre1", "gre2"]),
        kind=st.sampled_from(["gre", "gretap", "erspan"]),
        local=st.sampled_from([A, B, None]),
        remote=st.sampled_from([A, B, None, "224.0.0.5"]),
        key=st.sampled_from([None, 0, 7]),
        ifindex=st.sampled_from([GRE1, GRE1 + 1]),
        up=st.booleans(),
        iseq=st.booleans(),
        icsum=st.booleans(),
        external=st.booleans(),
        moved=st.booleans(),
    )
    | st.builds(
        tunnel,
        kind=st.sampled_from(["ip6gre", "ip6gretap"]),
        local=st.sampled_from([B6, None]),
        remote=st.sampled_from([A6, None]),
        key=st.sampled_from([None, 0, 7]),
        up=st.booleans(),
    )
    | st.just(tunnel("gre0", local=None, remote=None, ifindex=GRE1, fallback=True)),
    max_size=3,
)
ROUTES = st.dictionaries(
    st.sampled_from([A, B, A6, B6, "10.1.1.1", "10.1.1.2"]),
    st.sampled_from([by(VB, "vb", mtu=1500), by(GRE1, "gre1", mtu=1476), by(LAN, "lan")]),
)
LINKS = [
    WireGuard((), is_whole=False),
    WireGuard([Peer("k" * 43 + "=", None, [ip_network("0.0.0.0/0")])]),
    WireGuard([Peer("k" * 43 + "=", ip_address(A), [ip_network("10.0.0.0/8")])]),
]
PORTS = st.builds(
    BridgePort,
    bridge=st.just("br0"),
    state=st.integers(0, 5),
    has_stp=st.booleans(),
    filters=st.booleans(),
    vlans=st.sampled_from([(), ((1, 1),), ((1, 1), (10, 20))]),
    pvid=st.sampled_from([None, 1]),
)
SETTINGS = st.dictionaries(
    st.sampled_from([
        f"net.ipv4.conf.{of}.{leaf}"
        for of in ("all", "vb", "gre1")
        for leaf in ("rp_filter", "accept_local", "forwarding")
    ] + ["net.mpls.conf.gre1.input", "net.mpls.platform_labels"]),
    st.integers(0, 2),
)  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(
    packet=SOUND | CUT | MARRED,
    tunnels=TUNNELS,
    host=st.builds(
        FakeHost, SETTINGS, ROUTES, own=st.sampled_from([(), (B, B6)]), chains=st.none(),
        labels=st.sampled_from([None, (), (1, 16)]),
        ports=st.dictionaries(st.just(GRE1), PORTS),
        wireguards=st.dictionaries(st.just(VB), st.sampled_from(LINKS)),
    ),
    death=DEATHS,
    ifindex=st.sampled_from([VB, GRE1]),
    marks=st.fixed_dictionaries({
        name: st.booleans() for name in ("on_tunnel", "is_routed", "is_pulled")
    }),
    is_marked=st.booleans(),
    protocol=st.sampled_from([None, 0x0800, 0x86DD, 0x6558, 4, 0x8847]),
    vlan=st.sampled_from([0, 1, 15, 4095]),
    label=st.none() | st.builds(Label, st.integers(0, 32), st.booleans()),
)  # fmt: skip
def test_one_verdict_and_no_error(
    packet, tunnels, host, death, ifindex, marks, is_marked, protocol, label, vlan
):  # fmt: skip
    place, reason = death
    parsed = parse_packet(packet)
    protocol = None if parsed and parsed.gre else protocol
    judged = at(
        packet, *tunnels,
        iif="gre1" if ifindex == GRE1 else "vb",
        host=host, place=place, reason=reason, ifindex=ifindex, protocol=protocol, label=label,
        is_sent=is_sent(place, is_marked), vlan=vlan, **marks,
    )  # fmt: skip
    claims = [c.name for c in CAUSES if not c.last_resort and c.recognise(judged)]
    assert len(claims) <= 1, claims
    verdict = explain(judged)
    assert verdict.cause == (claims[0] if claims else "other")
    finding = verdict.finding
    assert finding.summary.endswith(".")
    assert finding.fix
    assert all(fix.note and "None" not in str(fix.command or "") for fix in finding.fix)
    drop = judged.drop
    seen = tuple_of(drop, Tables(tunnels))
    report = Report(verdict, drop, judged.iif, None, seen, 1, drop.first_ns, drop.last_ns)
    assert json.loads(json.dumps(to_record(report)))["cause"] == verdict.cause
    assert verdict.cause in block(report, Painter(color=False))
    assert parsed == drop.packet
