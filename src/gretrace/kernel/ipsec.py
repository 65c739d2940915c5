# SPDX-License-Identifier: GPL-2.0-only
"""IPsec as it decides about what tunnels send and receive (net/xfrm/xfrm_policy.c)."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

from gretrace.kernel.kinds import kind_of
from gretrace.model import GRE, Address, Tunnel

Network: TypeAlias = IPv4Network | IPv6Network


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

    @property
    def selector(self) -> tuple[str, ...]:
        """The selector in the words of `ip xfrm policy`."""
        words = ["src", str(self.source), "dst", str(self.destination)]
        words += ["proto", "gre" if self.protocol == GRE else str(self.protocol)] * bool(
            self.protocol
        )
        return (*words, *(("key", str(self.key)) if self.key_mask and self.protocol == GRE else ()))

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
class State:
    """One security association (`ip xfrm state`)."""

    source: Address
    destination: Address
    spi: int
    protocol: int  # 50: ESP, 51: AH


@dataclass(frozen=True, slots=True)
class Ipsec:
    """All of a namespace's policies, the oldest first, and its states."""

    policies: Sequence[Policy] = ()
    states: Sequence[State] = ()
    is_whole: bool = True  # there are no more

    def decisive(
        self, direction: str, source: Address, destination: Address, key: int | None, ifindex: int
    ) -> Policy | None:
        """Return the policy that decides about a GRE packet; None where it passes as it is."""
        ours = [p for p in self.policies if p.direction == direction]
        ours = [p for p in ours if p.source.version == source.version]
        return _decisive(ours, (source, destination), key, ifindex, exact=True)

    def between(self, source: Address, destination: Address) -> Sequence[State]:
        """Return the states by which packets go from one address to another."""
        return [s for s in self.states if (s.source, s.destination) == (source, destination)]


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
