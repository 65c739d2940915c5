# SPDX-License-Identifier: GPL-2.0-only
"""The host as verdicts ask about it: settings, routes, other namespaces."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from gretrace.engine.programs import program_name
from gretrace.host.bridge import read_port
from gretrace.host.features import module_state
from gretrace.host.filters import read_filters
from gretrace.host.firewall import Rulesets
from gretrace.host.ipsec import read_ipsec
from gretrace.host.mpls import has_label
from gretrace.host.namespaces import entered
from gretrace.host.others import OtherNamespaces
from gretrace.host.queues import read_queues
from gretrace.host.tunnels import TunnelTable
from gretrace.host.wireguard import read_wireguard
from gretrace.kernel.droppers import Ruleset
from gretrace.kernel.ipsec import Ipsec
from gretrace.kernel.surroundings import Elsewhere
from gretrace.kernel.wireguard import WireGuard
from gretrace.model import (
    Address,
    BridgePort,
    Device,
    Filter,
    Program,
    Queue,
    RefusingRule,
    Route,
    Traffic,
    Tunnel,
)

PROC_SYS = Path("/proc/sys")


class Host:
    """The namespace of a tunnel table as it is now; what was read once is not read again.

    Made for one look at the drops, and thrown away after it.
    """

    def __init__(
        self,
        table: TunnelTable,
        rulesets: Rulesets | None = None,
        others: OtherNamespaces | None = None,
    ) -> None:
        self._table = table
        self._rulesets, self._others = rulesets or Rulesets(), others or OtherNamespaces()
        self._settings: dict[str, str | None] = {}
        self._modules: dict[str, str | None] = {}
        self._addresses: dict[int, Sequence[Address]] = {}
        self._routes: dict[tuple[Address, Address | None, int | None], Route] = {}
        self._ports: dict[int, BridgePort | None] = {}
        self._devices: dict[int, Device | None] = {}
        self._labels: dict[int, bool | None] = {}
        self._queues: dict[int, Sequence[Queue]] = {}
        self._filters: dict[tuple[int, str], Sequence[Filter] | None] = {}
        self._ruleset: Ruleset | None = None
        self._ipsec: Ipsec | None = None
        self._wireguards: dict[int, WireGuard | None] = {}
        self._elsewhere: Elsewhere | None = None
        self._traffic: dict[int, Traffic | None] = {}

    def traffic(self, tunnels: Iterable[Tunnel]) -> dict[int, Traffic]:
        """Return what tunnels have carried, by ifindex; those that are gone are left out."""
        read = {}
        for tunnel in tunnels:
            if tunnel.ifindex not in self._traffic:
                self._traffic[tunnel.ifindex] = self._table.traffic(tunnel.ifindex)
            if traffic := self._traffic[tunnel.ifindex]:
                read[tunnel.ifindex] = traffic
        return read

    def sysctl(self, name: str) -> str | None:
        """Return the value of a kernel setting by its dotted name; None where there is none."""
        if name not in self._settings:
            # A device's name may have dots, which sysctl(8) wants as slashes.
            path = PROC_SYS / name.translate(str.maketrans("./", "/."))
            try:
                with entered(self._table.namespace):
                    self._settings[name] = path.read_text().strip()
            except OSError:
                self._settings[name] = None
        return self._settings[name]

    def module_state(self, module: str) -> str | None:
        """Tell whether a module is "loaded", "built in" or "loadable"; None where it is missing."""
        if module not in self._modules:
            self._modules[module] = module_state(module)
        return self._modules[module]

    def route(
        self, remote: Address, source: Address | None = None, device: int | None = None
    ) -> Route:
        """Return the way that the kernel would send to an address, from one and by a device."""
        asked = (remote, source, device)
        if asked not in self._routes:
            self._routes[asked] = self._table.route(*asked)
        return self._routes[asked]

    def device(self, ifindex: int) -> Device | None:
        """Return the state of a device; None when there is none, or not any more."""
        if ifindex not in self._devices:
            self._devices[ifindex] = self._table.device(ifindex)
        return self._devices[ifindex]

    def bridge_port(self, ifindex: int) -> BridgePort | None:
        """Return a device as the port of a bridge; None where it is none."""
        if ifindex not in self._ports:
            self._ports[ifindex] = read_port(self._table.namespace, ifindex)
        return self._ports[ifindex]

    def holder(self, address: Address) -> int | None:
        """Return the index of the device that has an address, whatever its VRF."""
        return self._table.holder(address)

    def neighbour(self, ifindex: int, address: Address) -> Address | None:
        """Return where on the underlay a neighbour on a tunnel lives, if anybody said it."""
        return self._table.neighbour(ifindex, address)

    def refusing_rule(self, remote: Address, source: Address | None) -> RefusingRule | None:
        """Return the rule by which the way to an address is refused, but for the main table."""
        return self._table.refusing_rule(remote, source)

    def addresses(self, ifindex: int) -> Sequence[Address]:
        """Return the addresses of a device."""
        if ifindex not in self._addresses:
            self._addresses[ifindex] = self._table.addresses(ifindex)
        return self._addresses[ifindex]

    def has_label(self, label: int) -> bool | None:
        """Whether there is a route for a label of MPLS; None where the kernel does not say."""
        if label not in self._labels:
            self._labels[label] = has_label(self._table.namespace, label)
        return self._labels[label]

    def queues(self, ifindex: int) -> Sequence[Queue]:
        """Return what packets wait in before a device sends them."""
        if ifindex not in self._queues:
            with entered(self._table.namespace):
                self._queues[ifindex] = read_queues(ifindex)
        return self._queues[ifindex]

    def generic_xdp(self, ifindex: int) -> Program | None:
        """Return the generic XDP program on a device, if it has one."""
        number = self._table.generic_xdp(ifindex)
        return Program(number, program_name(number)) if number else None

    def filters(self, ifindex: int, direction: str) -> Sequence[Filter] | None:
        """Return the tc filters that can drop at a device's ingress or egress; None: not known."""
        asked = ifindex, direction
        if asked not in self._filters:
            self._filters[asked] = read_filters(self._table.namespace, *asked)
        return self._filters[asked]

    def firewall(self) -> Ruleset:
        """Return the chains of netfilter, or why they cannot be read."""
        if self._ruleset is None:
            self._ruleset = self._rulesets.of(self._table.namespace)
        return self._ruleset

    def ipsec(self) -> Ipsec:
        """Return the policies and states of IPsec; raises what `read_ipsec` raises."""
        if self._ipsec is None:
            self._ipsec = read_ipsec(self._table.namespace)
        return self._ipsec

    def wireguard(self, ifindex: int) -> WireGuard | None:
        """Return the peers of a device of WireGuard; None where it is none."""
        if ifindex not in self._wireguards:
            self._wireguards[ifindex] = read_wireguard(self._table.namespace, ifindex)
        return self._wireguards[ifindex]

    def elsewhere(self) -> Elsewhere:
        """Return the tunnels of other namespaces, as far as there is time to read them."""
        if self._elsewhere is None:
            self._elsewhere = self._others.than(self._table.namespace)
        return self._elsewhere
