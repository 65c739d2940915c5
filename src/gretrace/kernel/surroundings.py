# SPDX-License-Identifier: GPL-2.0-only
"""What a verdict may ask of the host at the moment that it is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gretrace.commands import Netns
from gretrace.kernel.droppers import Ruleset
from gretrace.kernel.ipsec import Ipsec
from gretrace.kernel.lookup import Tables
from gretrace.kernel.wireguard import WireGuard
from gretrace.model import Address, BridgePort, Device, Filter, Program, Queue, RefusingRule, Route


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The tunnels of other namespaces, as far as they were read."""

    found: Sequence[tuple[Netns, Tables]] = ()  # those that have tunnels
    left_out: int = 0  # how many others were not looked into: it would take too long


class Surroundings(Protocol):
    """Facts about the namespace in which a packet died, each read when it is asked for."""

    def sysctl(self, name: str) -> str | None:
        """Return the value of a kernel setting by its dotted name; None where there is none."""

    def module_state(self, module: str) -> str | None:
        """Tell whether a module is "loaded", "built in" or "loadable"; None where it is missing."""

    def route(
        self, remote: Address, source: Address | None = None, device: int | None = None
    ) -> Route:
        """Return the way that the kernel would send to an address, from one and by a device."""

    def addresses(self, ifindex: int) -> Sequence[Address]:
        """Return the addresses of a device."""

    def device(self, ifindex: int) -> Device | None:
        """Return the state of a device; None where it is not known."""

    def bridge_port(self, ifindex: int) -> BridgePort | None:
        """Return a device as the port of a bridge; None where it is none."""

    def holder(self, address: Address) -> int | None:
        """Return the index of the device that has an address, whatever its VRF."""

    def neighbour(self, ifindex: int, address: Address) -> Address | None:
        """Return where on the underlay a neighbour on a tunnel lives, if anybody said it."""

    def refusing_rule(self, remote: Address, source: Address | None) -> RefusingRule | None:
        """Return the rule by which the way to an address is refused, but for the main table."""

    def has_label(self, label: int) -> bool | None:
        """Whether there is a route for a label of MPLS; None where that is not known."""

    def queues(self, ifindex: int) -> Sequence[Queue]:
        """Return what packets wait in before a device sends them."""

    def generic_xdp(self, ifindex: int) -> Program | None:
        """Return the generic XDP program on a device, if it has one."""

    def filters(self, ifindex: int, direction: str) -> Sequence[Filter] | None:
        """Return the tc filters that can drop at a device's ingress or egress; None: not known."""

    def firewall(self) -> Ruleset:
        """Return the chains of netfilter, or why they cannot be read."""

    def ipsec(self) -> Ipsec:
        """Return the policies and states of IPsec."""

    def wireguard(self, ifindex: int) -> WireGuard | None:
        """Return the peers of a device of WireGuard; None where it is none."""

    def elsewhere(self) -> Elsewhere:
        """Return the tunnels of other namespaces."""


class Nowhere:
    """A namespace of which nothing is known: it is gone, or the packet is of a capture."""

    def sysctl(self, _name: str) -> str | None:
        """Know of no setting."""
        return None

    def module_state(self, _module: str) -> str | None:
        """Know of no module."""
        return None

    def route(
        self, _remote: Address, _source: Address | None = None, _device: int | None = None
    ) -> Route:
        """Know of no route."""
        return Route()

    def addresses(self, _ifindex: int) -> Sequence[Address]:
        """Know of no address."""
        return ()

    def device(self, _ifindex: int) -> Device | None:
        """Know of no device."""
        return None

    def bridge_port(self, _ifindex: int) -> BridgePort | None:
        """Know of no bridge."""
        return None

    def holder(self, _address: Address) -> int | None:
        """Know of no address."""
        return None

    def neighbour(self, _ifindex: int, _address: Address) -> Address | None:
        """Know of no neighbour."""
        return None

    def refusing_rule(self, _remote: Address, _source: Address | None) -> RefusingRule | None:
        """Know of no rule."""
        return None

    def has_label(self, _label: int) -> bool | None:
        """Know of no label."""
        return None

    def queues(self, _ifindex: int) -> Sequence[Queue]:
        """Know of no queue."""
        return ()

    def generic_xdp(self, _ifindex: int) -> Program | None:
        """Know of no program."""
        return None

    def filters(self, _ifindex: int, _direction: str) -> Sequence[Filter] | None:
        """Know of no filter."""
        return None

    def firewall(self) -> Ruleset:
        """Know of no ruleset."""
        return Ruleset(unread="from here")

    def ipsec(self) -> Ipsec:
        """Know of no policy."""
        return Ipsec()

    def wireguard(self, _ifindex: int) -> WireGuard | None:
        """Know of no peer."""
        return None

    def elsewhere(self) -> Elsewhere:
        """Know of no other namespace."""
        return Elsewhere()
