# SPDX-License-Identifier: GPL-2.0-only
"""What ends a packet as soon as the host has it: its IP header, its address, IPv6 itself."""

from gretrace.commands import ip_link, run, sysctl
from gretrace.kernel import stack
from gretrace.kernel.kinds import LEAST_MTU
from gretrace.kernel.settings import read_number, setting_name
from gretrace.model import Ask, Change, Finding, Fix, Tunnel, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.ends import outer, owner_name
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_death, describe_packet, describe_tunnel, host_prefix


@cause(
    "outer-corrupt",
    "the outer IP header is damaged: its checksum is wrong, or it announces more than came",
    *(stack.cut_short, stack.wrong_ip_checksum),
)
def outer_corrupt(case: Case) -> Finding | None:
    """The kernel frees it in ip_rcv() or ip6_rcv() of the underlay, with the reason."""
    packet = outer(case)
    if packet is None or case.drop.is_sent:
        return None
    if case.is_at(stack.wrong_ip_checksum):
        fault = "the checksum of their IP header is wrong"
    else:
        fault = "their IP header announces more bytes than came"
    device = case.iif
    here = device and Fix(
        Where.HERE,
        f"If only {device} sees them so, do not let the card compute for the kernel.",
        run(case.netns, "ethtool", "-K", device, "rx", "off", "gro", "off", "lro", "off"),
    )
    return Finding(
        summary=f"GRE packets from {packet.remote} to {packet.local} arrive damaged: {fault}.",
        evidence=(
            describe_packet(packet),
            describe_death(case.drop),
        ),
        fix=(
            Fix(
                Where.PATH,
                f"Find what damages or cuts packets between {packet.remote} and this host: a "
                "link that is counted errors on, an offload of a card or a virtual switch on "
                "the way.",
            ),
            *([here] if here else []),
        ),
        path=(device or "?", str(case.drop.place)),
        tunnel=owner_name(case),
    )


@cause(
    "local-address-missing",
    "the packet is for a tunnel's local address, which this host does not have",
    *(stack.no_forwarding, stack.no_route),
)
def local_address_missing(case: Case) -> Finding | None:
    """A GRE packet that a tunnel waits for ends where this host would pass it on."""
    packet, device = outer(case), case.iif
    if packet is None or not device or case.drop.is_sent:
        return None
    tunnel = _waiting(case)
    if tunnel is None or case.route(packet.local).is_own:
        return None
    return Finding(
        summary=f"{tunnel.name} waits for packets to {packet.local}, and {packet.remote} sends "
        "them, but no device of this host has that address.",
        evidence=(
            describe_packet(packet),
            describe_tunnel(tunnel),
            f"It came by {device}; {case.drop.place} freed it as a packet for another host.",
        ),
        fix=(
            Fix(
                Where.HERE,
                f"Give the address back to the device that had it, with the prefix that it had; "
                f"{device} is the one by which the packets come.",
                run(case.netns, "ip", "addr", "add", host_prefix(packet.local), "dev", device),
            ),
            Fix(
                Where.PEER,
                f"Or, if this host has another address now, have {packet.remote} send to that, "
                f"and change the local address of {tunnel.name}.",
                ask=Ask(Change.DESTINATION, tunnel.kind),
            ),
        ),
        path=(device, "route", str(case.drop.place)),
        tunnel=tunnel.name,
    )


def _waiting(case: Case) -> Tunnel | None:
    """Return the tunnel that would take the packet if it were for this host."""
    tunnel = case.chosen
    return None if tunnel is None or tunnel.fallback or not tunnel.local else tunnel


@cause(
    "ipv6-disabled",
    "the tunnel carries IPv6, which its device has none of",
    stack.ipv6_disabled,
)
def ipv6_disabled(case: Case) -> Finding | None:
    """By the setting disable_ipv6, or for an MTU that is less than IPv6 needs."""
    packet, device, tunnel = case.delivered, case.iif, case.carrier
    if packet is None or not device or tunnel is None or packet.family != 6:
        return None
    name = setting_name(device, "disable_ipv6", 6)
    if tunnel.mtu < LEAST_MTU[6]:
        why = f"its MTU is {tunnel.mtu}, and IPv6 needs {LEAST_MTU[6]}"
        fix = Fix(
            Where.HERE,
            "Raise the MTU, if the underlay carries that much; the addresses of IPv6 that the "
            "device had have to be added again.",
            ip_link(case.netns, "set", device, "mtu", LEAST_MTU[6]),
        )
    else:
        why = "the setting disable_ipv6 is on"
        fix = Fix(Where.HERE, "Switch IPv6 on.", sysctl(case.netns, {name: 0}))
    return Finding(
        summary=f"{device} has received IPv6 from {packet.remote}, and has no IPv6: {why}.",
        evidence=(
            describe_packet(packet),
            f"{name} is {_shown(read_number(case.host.sysctl, name))}.",
            describe_tunnel(tunnel),
        ),
        fix=(fix,),
        path=(device, "decapsulated", str(case.drop.place)),
        tunnel=tunnel.name,
    )


def _shown(value: int | None) -> str:
    return "not there" if value is None else str(value)
