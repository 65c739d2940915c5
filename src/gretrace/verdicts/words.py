# SPDX-License-Identifier: GPL-2.0-only
"""The sentences and commands that verdicts share."""

from dataclasses import replace
from typing import Any

from gretrace.commands import Command, Netns, Word, ip_link, nft
from gretrace.kernel.kinds import DEFAULT_LIMIT, kind_of
from gretrace.model import (
    ETH_P_ERSPAN,
    ETH_P_ERSPAN2,
    ETH_P_IP,
    ETH_P_IPV6,
    ETH_P_TEB,
    ETH_P_WCCP,
    Address,
    Drop,
    Encap,
    Packet,
    Traffic,
    Tunnel,
)
from gretrace.wire.keys import show_key

# EtherTypes, or what is sent as one in GRE.
_PROTOCOLS = {
    0: "keepalive answer", 0x0004: "802.2", 0x00FE: "OSI", 0x2000: "CDP", 0x2001: "NHRP",
    ETH_P_IP: "IPv4", 0x0806: "ARP", ETH_P_TEB: "Ethernet", ETH_P_IPV6: "IPv6", 0x8847: "MPLS",
    0x880B: "PPP", ETH_P_WCCP: "WCCP", ETH_P_ERSPAN: "ERSPAN", ETH_P_ERSPAN2: "ERSPAN III",
}  # fmt: skip


# How the kernel stores iproute2's `tos inherit`.
TOS_INHERIT = 1
# iproute2 takes that version of ERSPAN where it is told none.
ERSPAN_DEFAULT = 1
ENCAP_FLAGS = {"csum": "encap-csum", "csum6": "encap-udp6-csum", "remcsum": "encap-remcsum"}
# That one only iproute2's ip/link_gre6.c sets by itself.
ENCAP_DEFAULTS = {4: (), 6: ("csum6",)}


# What most often travels in a tunnel (IANA's protocol numbers).
_INNER_PROTOCOLS = {
    1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 58: "ICMPv6", 88: "EIGRP",
    89: "OSPF",
}  # fmt: skip


def show_address(address: Address | None) -> str:
    """Name an address as iproute2 does."""
    return "any" if address is None else str(address)


def host_prefix(address: Address) -> str:
    """Write an address as the prefix of one host."""
    return f"{address}/{address.max_prefixlen}"


def show_protocol(protocol: int) -> str:
    """Name a GRE protocol type."""
    name = _PROTOCOLS.get(protocol)
    return f"{protocol:#06x} ({name})" if name else f"{protocol:#06x}"


def describe_packet(packet: Packet) -> str:
    """Tell what was observed of a packet."""
    words = f"Packet: {packet.remote} > {packet.local}"
    if packet.gre:
        words += f", {show_key(packet.gre.key)}, protocol {show_protocol(packet.gre.protocol)}"
        if packet.gre.sequence is not None:
            words += f", sequence {packet.gre.sequence}"
    if packet.inner:
        inner = packet.inner
        carried = _INNER_PROTOCOLS.get(inner.protocol, f"IP protocol {inner.protocol}")
        words += f"; inside {inner.source} > {inner.destination}, {carried}"
    return words + "."


def describe_death(drop: Drop) -> str:
    """Say where the kernel freed a packet, and its reason if it gave one."""
    return f"The kernel freed it in {drop.place}" + (f" ({drop.reason})." if drop.reason else ".")


def describe_tunnel(tunnel: Tunnel) -> str:
    """Tell how a tunnel is configured."""
    words = (
        f"{tunnel.name}: {tunnel.kind}, local {show_address(tunnel.local)}, "
        f"remote {show_address(tunnel.remote)}, {_show_keys(tunnel)}"
    )
    if tunnel.link_name:
        words += f", dev {tunnel.link_name}"
    return words + (", up." if tunnel.up else ", down.")


def describe_traffic(tunnel: Tunnel, traffic: Traffic | None) -> str | None:
    """Tell what a tunnel has carried, where that is known."""
    if traffic is None:
        return None
    received = "never received one" if not traffic.received else f"received {traffic.received}"
    return f"{tunnel.name} has sent {_packets(traffic.sent)} and {received}."


def change_command(netns: Netns, tunnel: Tunnel, **changes: Any) -> Command:
    """Build the `ip link change` that makes `changes` and keeps all the rest.

    The kernel replaces the whole state of a GRE device at a change (ipgre_changelink()),
    and not every ip fetches the rest itself, so all that differs from the default is said.
    `changes` are attributes of Tunnel.
    """
    return ip_link(netns, "change", tunnel.name, "type", tunnel.kind, *_arguments(tunnel, changes))


def add_command(netns: Netns, tunnel: Tunnel) -> Command:
    """Build the command that creates a tunnel."""
    return ip_link(netns, "add", tunnel.name, "type", tunnel.kind, *_arguments(tunnel, {}))


def add_and_set_up(netns: Netns, tunnel: Tunnel) -> Command:
    """Build the commands that create a tunnel and set it up."""
    return add_command(netns, tunnel) + ip_link(netns, "set", tunnel.name, "up")


def clamp_segments(netns: Netns, size: int | None = None) -> Command:
    """Build the command that limits the segments of TCP that is forwarded, in bytes.

    None: to what the routes there and back take. One rule serves both directions of every device:
    what a SYN announces limits what comes back.
    """
    hook = "{ type filter hook forward priority mangle; }"
    wanted = "rt mtu" if size is None else size
    return nft(
        netns,
        ("add table inet gretrace",),
        ("add chain inet gretrace clamp", hook),
        ("add rule inet gretrace clamp tcp flags syn tcp option maxseg size set", wanted),
    )


def _arguments(tunnel: Tunnel, changes: dict[str, Any]) -> list[Word]:
    wanted = replace(tunnel, **changes)
    kind = kind_of(wanted)
    words: list[Word] = ["external"] if wanted.external else _endpoint_words(wanted)
    if kind.erspan and (version := _erspan_version(wanted)) != ERSPAN_DEFAULT:
        words += ["erspan_ver", version]
    for name, key in (("ikey", wanted.ikey), ("okey", wanted.okey)):
        if key is not None:
            words += [name, key]
        elif name in changes:
            words.append(f"no{name}")
    for name in ("icsum", "ocsum", "iseq", "oseq"):
        if getattr(wanted, name):
            words.append(name)
        elif name in changes:
            words.append(f"no{name}")
    if wanted.link_name:
        words += ["dev", wanted.link_name]
    if wanted.ttl:
        words += [kind.hop_limit, wanted.ttl]
    words += _ipv4_words(wanted) if kind.family == 4 else _ipv6_words(wanted, changes)
    return words + (_encap_words(wanted.encap, kind.family) if wanted.encap else [])


def _erspan_version(tunnel: Tunnel) -> int:
    # erspan_validate() of net/ipv4/ip_gre.c wants a key, but for type I, which has none.
    is_type_one = tunnel.kind == "erspan" and tunnel.ikey is None and not tunnel.external
    return 0 if is_type_one else tunnel.erspan_version


def _ipv4_words(tunnel: Tunnel) -> list[Word]:
    """Name what iproute2 does not know over IPv6, where no router fragments."""
    words: list[Word] = []
    if tunnel.tos:
        words += ["tos", "inherit" if tunnel.tos == TOS_INHERIT else hex(tunnel.tos)]
    if not tunnel.pmtudisc:
        words.append("nopmtudisc")
    if tunnel.ignore_df:
        words.append("ignore-df")
    return words


def _ipv6_words(tunnel: Tunnel, changes: dict[str, Any]) -> list[Word]:
    limit = tunnel.encap_limit
    is_told = limit != DEFAULT_LIMIT or "encap_limit" in changes
    return [] if not is_told else ["encaplimit", "none" if limit is None else limit]


def _encap_words(encap: Encap, family: int) -> list[Word]:
    words: list[Word] = ["encap", encap.type, "encap-sport", encap.sport or "auto"]
    words += ["encap-dport", encap.dport]
    for name, word in ENCAP_FLAGS.items():
        if getattr(encap, name) is not (name in ENCAP_DEFAULTS[family]):
            words.append(word if getattr(encap, name) else f"no{word}")
    return words


def _endpoint_words(tunnel: Tunnel) -> list[Word]:
    return ["local", show_address(tunnel.local), "remote", show_address(tunnel.remote)]


def _show_keys(tunnel: Tunnel) -> str:
    if tunnel.ikey == tunnel.okey:
        return show_key(tunnel.ikey)
    return f"{show_key(tunnel.ikey, 'ikey')}, {show_key(tunnel.okey, 'okey')}"


def _packets(count: int) -> str:
    return f"{count} packet" if count == 1 else f"{count} packets"
