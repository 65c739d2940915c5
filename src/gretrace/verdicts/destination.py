# SPDX-License-Identifier: GPL-2.0-only
"""What the packet inside is for is an address that no host may have (ip_route_input_slow())."""

from ipaddress import IPv4Network, IPv6Address

from gretrace.kernel import stack
from gretrace.kernel.settings import read_number, setting_name
from gretrace.model import Address, Finding, Fix, Packet, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.ends import owner_name
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_packet

# What the kernel itself refuses, and what it takes for an address like any other (since v2.6.25,
# 1e637c74b0f8 "[IPV4]: Enable use of 240/4 address space.") though nobody has one.
ZERO, RESERVED = IPv4Network("0.0.0.0/8"), IPv4Network("240.0.0.0/4")


@cause("martian-destination", "the packet inside is for an address that no host may have")
def martian_destination(case: Case) -> Finding | None:
    """The kernel refuses 0/8, loopback addresses from outside, and has no way to class E."""
    packet, device = case.delivered, case.iif
    kind = martian_kind(packet.local) if packet else None
    if not packet or not device or not kind or not _is_place_for_it(case, packet):
        return None
    return Finding(
        summary=f"{device} has received packets for {packet.local}, {kind}.",
        evidence=(
            describe_packet(packet),
            f"It was freed in {case.drop.place}"
            + (f" ({case.drop.reason})." if case.drop.reason else "."),
        ),
        fix=(
            Fix(
                Where.PEER,
                f"Find what sends to {packet.local} at {packet.remote}, and why it is routed into "
                "the tunnel: no host can be reached by that address.",
            ),
        ),
        path=(device, "decapsulated", "route", str(case.drop.place)),
        tunnel=owner_name(case),
    )


def martian_kind(address: Address) -> str | None:
    """Tell why no packet may come for an address from outside; None where one may."""
    if address.is_loopback:
        return "an address that every host has for itself"
    if isinstance(address, IPv6Address):
        return "no address at all" if address.is_unspecified else None
    if address in ZERO:
        return "which is no address at all"
    if address in RESERVED and str(address) != "255.255.255.255":
        return "which is reserved (class E)"
    return None


def _is_place_for_it(case: Case, packet: Packet) -> bool:
    drop, family = case.drop, packet.family
    if family == 4 and packet.local in RESERVED:
        return any(step.can_free(drop, 4) for step in (stack.no_forwarding, stack.no_route))
    at_check = stack.martian_source.can_free(drop, family) or drop.reason == "IP_INVALID_DEST"
    if family == 6:
        return at_check
    if packet.remote.is_multicast or packet.remote in ZERO:
        # The source is looked at first.
        return False
    name = setting_name(case.iif or "", "route_localnet")
    lets_in = packet.local.is_loopback and read_number(case.host.sysctl, name)
    return at_check and not lets_in
