# SPDX-License-Identifier: GPL-2.0-only
"""What verdicts ask of a host, as a test says it is."""

from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from gretrace.commands import HERE
from gretrace.host.firewall import NO_TOOL
from gretrace.kernel.droppers import Ruleset
from gretrace.kernel.ipsec import Ipsec
from gretrace.kernel.surroundings import Nowhere
from gretrace.model import Device, RefusingRule, Route
from tests.unit.cases import VB, case

GRE1, LAN, VRF = 10, 8, 30
# gre1, enslaved to it.
IN_VRF = {GRE1: Device(GRE1, "gre1", up=True, carrier=True, vrf="vrf1", vrf_ifindex=VRF)}


@dataclass
class FakeHost(Nowhere):
    """Settings by their names, routes by their addresses; what is not there is not known."""

    settings: dict[str, int] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    own: tuple[str, ...] = ()
    own_in: dict[int, tuple[str, ...]] = field(default_factory=dict)  # a VRF's, by its index
    chains: tuple | None = None
    devices: dict[int, Device] = field(default_factory=dict)
    holders: dict[str, int] = field(default_factory=dict)
    neighbours: dict[str, str] = field(default_factory=dict)
    rule: RefusingRule | None = None
    protection: Ipsec = field(default_factory=Ipsec)
    wireguards: dict = field(default_factory=dict)
    programs: dict = field(default_factory=dict)  # of generic XDP
    tc: dict = field(default_factory=dict)  # filters, by device and direction
    ports: dict = field(default_factory=dict)
    labels: tuple[int, ...] | None = None  # that there are routes for; None: not known
    modules: dict[str, str] = field(default_factory=dict)
    queued: dict[int, tuple] = field(default_factory=dict)  # of a device, by its index

    def wireguard(self, ifindex):
        return self.wireguards.get(ifindex)

    def generic_xdp(self, ifindex):
        return self.programs.get(ifindex)

    def filters(self, ifindex, direction):
        return self.tc.get((ifindex, direction))

    def bridge_port(self, ifindex):
        return self.ports.get(ifindex)

    def has_label(self, label):
        return None if self.labels is None else label in self.labels

    def module_state(self, module):
        return self.modules.get(module)

    def queues(self, ifindex):
        return self.queued.get(ifindex, ())

    def ipsec(self):
        return self.protection

    def device(self, ifindex):
        return self.devices.get(ifindex)

    def holder(self, address):
        return self.holders.get(str(address))

    def neighbour(self, _ifindex, address):
        at = self.neighbours.get(str(address))
        return ip_address(at) if at else None

    def refusing_rule(self, _remote, _source):
        return self.rule

    def sysctl(self, name):
        value = self.settings.get(name)
        return None if value is None else str(value)

    def route(self, remote, _source=None, device=None):
        if str(remote) in self.own_in.get(device, () if device in self.own_in else self.own):
            return Route(device=1, name="lo", is_own=True)
        return self.routes.get(str(remote), Route(error=101))

    def addresses(self, ifindex):
        return [ip_address(own) for own in self.own] if ifindex in (GRE1, VB) else []

    def firewall(self):
        return Ruleset(self.chains or (), None if self.chains is not None else NO_TOOL)


def by(ifindex, name, **more):
    return Route(device=ifindex, name=name, **more)


def at(packet, *tunnels, iif, host=None, netns=HERE, **more):
    """A case of a drop on a device of a host."""
    return replace(case(packet, *tunnels, netns=netns, **more), iif=iif, host=host or FakeHost())


def on_tunnel(packet, *tunnels, **more):
    """A case of a drop on gre1."""
    return at(packet, *tunnels, iif="gre1", on_tunnel=True, ifindex=GRE1, **more)


def settings(device, leaf, every, own, family=4):
    """A setting for all devices, and for one."""
    return {f"net.ipv{family}.conf.{of}.{leaf}": v for of, v in (("all", every), (device, own))}
