# SPDX-License-Identifier: GPL-2.0-only
"""Does a program of the responder answer right, on this kernel, on a tunnel like this one?

Found out by doing: in a namespace of its own a twin of the tunnel gets a keepalive from
the wire, and what comes back is looked at. What a program is shown, and what becomes of
what it sends, has changed with the kernel's releases more than once.
"""

import socket
import time
from dataclasses import replace
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING

from gretrace.engine.hooks import Hook
from gretrace.host.gre_link import GRE_CSUM, GRE_KEY, GRE_SEQ
from gretrace.host.iproute import open_iproute
from gretrace.host.namespaces import in_scratch_namespace
from gretrace.keepalive.responder import attach, make_config
from gretrace.kernel.kinds import kind_of
from gretrace.model import ETH_P_IP, ETH_P_IPV6, Address, Route, Tunnel
from gretrace.wire.packet import build_answer, build_keepalive, parse_packet

if TYPE_CHECKING:
    from pyroute2.iproute import IPRoute

# Documentation addresses (RFC 5737, RFC 3849); the namespace has no way out anyway.
ENDS = {
    4: (ip_address("192.0.2.1"), ip_address("192.0.2.2")),
    6: (ip_address("2001:db8::1"), ip_address("2001:db8::2")),
}
PREFIX = {4: 24, 6: 64}
ETHER_TYPE = {4: ETH_P_IP, 6: ETH_P_IPV6}
ETHERNET_SIZE = 14
ETH_P_ALL = 3
IFA_F_NODAD = 2
NUD_PERMANENT = 0x80
KEY = 1
# Microseconds pass on a machine, and tens of milliseconds in an emulated one.
PATIENCE = 1.0


def answers(tunnel: Tunnel, hook: Hook) -> bool:
    """Whether the responder on `hook` answers a keepalive of a tunnel like this one.

    Raises PrerequisiteError where no namespace can be made, OSError where the kernel
    refuses the program altogether.
    """
    twin = Tunnel(
        name="gre0" if tunnel.fallback else "twin",
        ifindex=0,
        netns=0,
        kind=tunnel.kind,
        local=ENDS[kind_of(tunnel).family][0] if tunnel.local else None,
        remote=ENDS[kind_of(tunnel).family][1] if tunnel.remote else None,
        ikey=None if tunnel.ikey is None else KEY,
        okey=None if tunnel.okey is None else KEY,
        icsum=tunnel.icsum,
        ocsum=tunnel.ocsum,
        iseq=tunnel.iseq,
        oseq=tunnel.oseq,
        fallback=tunnel.fallback,
    )
    return _twin_answers(twin, hook)


@cache
def _twin_answers(twin: Tunnel, hook: Hook) -> bool:
    local, remote = ENDS[kind_of(twin).family]
    flags = GRE_KEY * (twin.ikey is not None) | GRE_CSUM * twin.icsum | GRE_SEQ * twin.iseq
    with in_scratch_namespace(), open_iproute() as netlink:
        underlay, addresses = _make_wire(netlink, local, remote)
        made = replace(twin, ifindex=_make_twin(netlink, twin))
        attach(made, hook, make_config(made, route=Route(underlay, local)))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as wire:
            wire.bind(("theirs", ETH_P_ALL))
            wire.send(
                addresses
                + ETHER_TYPE[kind_of(twin).family].to_bytes(2, "big")
                + build_keepalive(local, remote, flags, KEY)
            )
            return _hears_answer(wire, local, remote)


def _hears_answer(wire: socket.socket, local: Address, remote: Address) -> bool:
    """Wait for the answer: our packet to the peer, in a GRE packet from us to the peer."""
    answer = build_answer(local, remote)
    deadline = time.monotonic() + PATIENCE
    while (left := deadline - time.monotonic()) > 0:
        wire.settimeout(left)
        try:
            packet = parse_packet(wire.recv(2048)[ETHERNET_SIZE:])
        except TimeoutError:
            return False
        if packet and packet.gre and (packet.remote, packet.local) == (local, remote):
            return packet.payload == answer and packet.gre.protocol == ETHER_TYPE[local.version]
    return False


def _make_wire(netlink: "IPRoute", local: Address, remote: Address) -> tuple[int, bytes]:
    """Make the underlay: a veth pair of which we have one end.

    Returns the index of the other, and the Ethernet addresses of a frame to it.
    """
    netlink.link("add", ifname="ours", kind="veth", peer="theirs")
    indexes = [netlink.link_lookup(ifname=name)[0] for name in ("ours", "theirs")]
    for index in (1, *indexes):
        netlink.link("set", index=index, state="up")
    macs = [netlink.get_links(index)[0].get_attr("IFLA_ADDRESS") for index in indexes]
    netlink.addr(
        "add",
        index=indexes[0],
        address=str(local),
        prefixlen=PREFIX[local.version],
        flags=IFA_F_NODAD if local.version == 6 else 0,
    )
    netlink.neigh(
        "add",
        family=socket.AF_INET6 if remote.version == 6 else socket.AF_INET,
        ifindex=indexes[0],
        dst=str(remote),
        lladdr=macs[1],
        state=NUD_PERMANENT,
    )
    return indexes[0], bytes.fromhex("".join(macs).replace(":", ""))


def _make_twin(netlink: "IPRoute", twin: Tunnel) -> int:
    if not twin.fallback:
        iflags = GRE_KEY * (twin.ikey is not None) | GRE_CSUM * twin.icsum | GRE_SEQ * twin.iseq
        oflags = GRE_KEY * (twin.okey is not None) | GRE_CSUM * twin.ocsum | GRE_SEQ * twin.oseq
        attributes: dict[str, object] = {
            "gre_iflags": iflags,
            "gre_oflags": oflags,
            "gre_ikey": twin.ikey or 0,
            "gre_okey": twin.okey or 0,
            "gre_ttl": 64,
        }
        ends = {"gre_local": twin.local, "gre_remote": twin.remote}
        attributes |= {name: str(address) for name, address in ends.items() if address}
        netlink.link("add", ifname=twin.name, kind=twin.kind, **attributes)
    index = int(netlink.link_lookup(ifname=twin.name)[0])
    netlink.link("set", index=index, state="up")
    return index
