# SPDX-License-Identifier: GPL-2.0-only
"""The xfrm policies of a namespace, and which of them cover the outer packets of a tunnel.

pyroute2 knows no xfrm, and one dump is all that is needed of it.
"""

import errno
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeAlias

from gretrace.host.framing import MESSAGE, attributes_in, messages
from gretrace.host.namespaces import Namespace, entered
from gretrace.kernel.kinds import kind_of
from gretrace.model import GRE, Address, Tunnel

Network: TypeAlias = IPv4Network | IPv6Network

NETLINK_XFRM = 6
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
# uapi/linux/xfrm.h
XFRM_MSG_NEWPOLICY, XFRM_MSG_GETPOLICY = 0x13, 0x15
XFRMA_TMPL, XFRMA_MARK, XFRMA_IF_ID = 5, 21, 31
XFRM_POLICY_BLOCK = 1
DIRECTIONS = {0: "in", 1: "out"}  # what else there is, is forwarded or of a single socket
USERPOLICY_ID_SIZE = 64

# struct xfrm_userpolicy_info: of the selector the addresses,
# the ports with their masks, family, prefix lengths, protocol and device; then priority,
# direction and action.
_PORTS = struct.Struct(">HHHH")
_POLICY = struct.Struct("=16s16s8sHBBB3xi100xI4xBB6x")
# struct xfrm_user_tmpl, of which only `optional` is read.
_TEMPLATE = struct.Struct("=50xB13x")
_RECEIVE = 1 << 16


@dataclass(frozen=True, slots=True)
class Policy:
    """One xfrm policy, in or out, as far as it decides about GRE packets (`ip xfrm policy`)."""

    direction: str
    source: Network
    destination: Network
    protocol: int  # 0: any
    priority: int  # the least decides
    key: int = 0
    key_mask: int = 0  # the bits of a packet's key that have to be those of `key`
    ifindex: int = 0  # 0: any device
    block: bool = False
    transforms: bool = False  # it has templates
    optional: bool = False  # each of them is of `level use`: without a state, plain text

    def __str__(self) -> str:
        action = " block" if self.block else ""
        return f"policy {self.direction} {self.source} > {self.destination}{action}"

    @property
    def bypass(self) -> bool:
        """Whether it lets packets pass as they are."""
        return not self.block and not self.transforms

    def covers(
        self, source: Address | None, destination: Address | None, key: int, ifindex: int
    ) -> bool:
        """Whether GRE packets match the selector; None is any address (xfrm_selector_match())."""
        return (
            self.protocol in (0, GRE)
            and (source is None or source in self.source)
            and (destination is None or destination in self.destination)
            and not (key ^ self.key) & self.key_mask
            and self.ifindex in (0, ifindex)
        )


@dataclass(frozen=True, slots=True)
class Protection:
    """The policies that decide about what a tunnel receives, and about what it sends."""

    inbound: Policy | None = None
    outbound: Policy | None = None

    @property
    def policy(self) -> Policy | None:
        """The policy to name where one is enough; None where none decides."""
        return self.outbound or self.inbound

    def describe(self, tunnel: Tunnel) -> str | None:
        """Say what that means for keepalives and their answers; None where no policy decides.

        What arrives is checked before the tunnel gets it (ip_protocol_deliver_rcu()), and
        what a tunnel sends is routed with xfrm (ip_tunnel_xmit(), ip6_tnl_xmit()), which
        takes an answer as it takes all else.
        """
        if not self.policy:
            return None
        whom = "" if tunnel.remote else " towards peers that a policy names"
        return f"{tunnel.name} is protected by IPsec{whom}: {self._arriving()}; {self._leaving()}"

    def _arriving(self) -> str:
        policy = self.inbound
        if policy is None:
            return "keepalives are answered whether they come by it or not"
        if policy.block:
            return f"no keepalive arrives ({policy})"
        if policy.optional:
            return f"keepalives are answered whether they come by it or not ({policy}, level use)"
        return f"keepalives outside it are dropped before the tunnel sees them ({policy})"

    def _leaving(self) -> str:
        policy = self.outbound
        if policy is None:
            return "answers leave in plain text, as all that the tunnel sends"
        if policy.block:
            return f"no answer leaves ({policy})"
        if policy.optional:
            return f"answers leave by it where there is a state, else plain ({policy}, level use)"
        return f"answers leave by it, as all that the tunnel sends ({policy})"


def protection(
    policies: Sequence[Policy], tunnel: Tunnel, local: Address | None, ifindex: int | None
) -> Protection:
    """Find the policies that cover a tunnel's outer packets, among `policies`, oldest first.

    `local` is the address that it sends from, `ifindex` that of the device which leads to
    the remote. A tunnel without a remote has many peers, and gets the first policy that any
    of them meets.
    """
    ends = (local, tunnel.remote)
    exact = None not in ends
    ours = [p for p in policies if p.source.version == kind_of(tunnel).family]
    return Protection(
        inbound=_decisive(
            [p for p in ours if p.direction == "in"], ends[::-1], tunnel.ikey, 0, exact=exact
        ),
        outbound=_decisive(
            [p for p in ours if p.direction == "out"], ends, tunnel.okey, ifindex or 0, exact=exact
        ),
    )


def read_policies(namespace: Namespace) -> list[Policy]:
    """Read the policies of a namespace, the oldest first; a kernel without xfrm has none.

    Leaves out those that want a mark or an xfrm interface (`mark`, `if_id`), which a
    tunnel's packets do not have by themselves. Raises OSError when the kernel refuses, and
    PrerequisiteError when the namespace cannot be entered.
    """
    try:
        with entered(namespace):
            xfrm = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM)
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            return []
        raise
    request = MESSAGE.pack(
        *(MESSAGE.size + USERPOLICY_ID_SIZE, XFRM_MSG_GETPOLICY),
        *(NLM_F_REQUEST | NLM_F_DUMP, 1, 0),
    )
    found: list[Policy] = []
    with xfrm:
        xfrm.send(request + bytes(USERPOLICY_ID_SIZE))
        while True:
            policies, ended = parse_dump(xfrm.recv(_RECEIVE))
            found += policies
            if ended:
                # A dump begins with the newest.
                return found[::-1]


def parse_dump(datagram: bytes) -> tuple[list[Policy], bool]:
    """Read one datagram of a dump: its policies, and whether the dump ends with it.

    Raises OSError for the error that the kernel answers with; what is cut short, or of
    another kind, is passed over.
    """
    policies = []
    ended = False
    for kind, _, _, payload in messages(datagram):
        if kind == NLMSG_ERROR:
            number = -struct.unpack_from("=i", payload.ljust(4, b"\0"))[0]
            raise OSError(number, os.strerror(number))
        if kind == NLMSG_DONE:
            ended = True
        elif kind == XFRM_MSG_NEWPOLICY:
            policy = _parse_policy(payload)
            if policy:
                policies.append(policy)
    return policies, ended


def _decisive(
    policies: Sequence[Policy],
    ends: tuple[Address | None, Address | None],
    key: int | None,
    ifindex: int,
    *,
    exact: bool,
) -> Policy | None:
    """Take the policy that the kernel takes: of those that cover a packet, the first by priority.

    Of equals it is the oldest. A bypass ends the search only where both ends are known: it
    may be for another peer.
    """
    for policy in sorted(policies, key=lambda p: p.priority):
        if policy.covers(*ends, key or 0, ifindex):
            if not policy.bypass:
                return policy
            if exact:
                return None
    return None


def _parse_policy(payload: bytes) -> Policy | None:
    if len(payload) < _POLICY.size:
        return None
    (
        to,
        of,
        ports,
        family,
        to_length,
        of_length,
        protocol,
        ifindex,
        priority,
        direction,
        action,
    ) = _POLICY.unpack_from(payload)
    attributes = attributes_in(payload, _POLICY.size)
    mark = attributes.get(XFRMA_MARK, b"").ljust(8, b"\0")
    wanted_mark, _ = struct.unpack_from("=II", mark)
    if direction not in DIRECTIONS or wanted_mark or any(attributes.get(XFRMA_IF_ID, b"")):
        return None
    size = 4 if family == socket.AF_INET else 16
    levels = _template_levels(attributes.get(XFRMA_TMPL, b""))
    # The two ports of a GRE packet are the halves of its key (xfrm_flowi_sport()).
    low, low_mask, high, high_mask = _PORTS.unpack(ports)
    try:
        return Policy(
            direction=DIRECTIONS[direction],
            source=ip_network((of[:size], of_length), strict=False),
            destination=ip_network((to[:size], to_length), strict=False),
            protocol=protocol,
            priority=priority,
            key=high << 16 | low,
            key_mask=high_mask << 16 | low_mask,
            ifindex=ifindex,
            block=action == XFRM_POLICY_BLOCK,
            transforms=bool(levels),
            optional=bool(levels) and all(levels),
        )
    except ValueError:  # a prefix longer than an address
        return None


def _template_levels(data: bytes) -> list[bool]:
    """Read of each template whether it is optional."""
    whole = len(data) // _TEMPLATE.size * _TEMPLATE.size
    return [bool(optional) for (optional,) in _TEMPLATE.iter_unpack(data[:whole])]
