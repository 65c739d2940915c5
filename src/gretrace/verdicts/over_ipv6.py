# SPDX-License-Identifier: GPL-2.0-only
"""What only tunnels over IPv6 cannot send (net/ipv6/ip6_gre.c and ip6_tunnel.c)."""

from gretrace.kernel import send
from gretrace.kernel.kinds import DEFAULT_LIMIT, kind_of
from gretrace.kernel.outgoing import find_sender
from gretrace.model import Finding, Fix, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import cause
from gretrace.verdicts.standing import standing_on
from gretrace.verdicts.words import (
    change_command,
    describe_death,
    describe_packet,
    describe_tunnel,
)


@cause(
    "tx-needs-device",
    "an end of the tunnel is link-local, and nothing says on which link",
    send.needs_device,
)
def tx_needs_device(case: Case) -> Finding | None:
    """The tunnel over IPv6 has a link-local address, and is bound to no device."""
    tunnel = case.sending.tunnel
    if tunnel is None or tunnel.local is None or tunnel.remote is None:
        return None
    end = tunnel.remote if tunnel.remote.is_link_local else tunnel.local
    device = standing_on(case, tunnel)
    if device:
        note = f"Bind {tunnel.name} to {device.name}, which has {tunnel.local}."
        command = change_command(case.netns, tunnel, link_name=device.name)
    else:
        note = (
            f"Bind {tunnel.name} to the device of that link (`dev` of `ip link change`), and give "
            f"the device {tunnel.local}, which no device has."
        )
        command = None
    return Finding(
        summary=f"{tunnel.name} cannot send: {end} is link-local, and {tunnel.name} is bound to "
        "no device that would say on which link.",
        evidence=(
            *([describe_packet(case.packet)] if case.packet else []),
            describe_tunnel(tunnel),
            describe_death(case.drop),
        ),
        fix=(Fix(Where.HERE, note, command),),
        path=(case.iif or tunnel.name, str(case.drop.place)),
        tunnel=tunnel.name,
    )


@cause(
    "tx-encap-limit",
    "the packet is of another tunnel, around which no further one may be put",
    send.no_more_tunnels,
)
def tx_encap_limit(case: Case) -> Finding | None:
    """An option of the packet's IPv6 header says so: tunnel encapsulation limit 0 (RFC 2473)."""
    packet, tunnel = case.packet, case.sending.tunnel
    if packet is None or tunnel is None or case.tables is None:
        return None
    sender = find_sender(packet, case.tables)
    if sender and kind_of(sender).family == 6 and sender.encap_limit == 0:
        fix = Fix(
            Where.HERE,
            f"Let tunnels be put around what {sender.name} sends: each takes one off its limit.",
            change_command(case.netns, sender, encap_limit=DEFAULT_LIMIT),
        )
    elif sender:
        fix = Fix(
            Where.HERE,
            f"Raise the limit (encaplimit) of the tunnel inside of {sender.name} that set it: "
            "each that is put around takes one off.",
        )
    else:
        fix = Fix(
            Where.PEER,
            f"Raise the limit (encaplimit) of the tunnel by which {packet.remote} sends to "
            f"{packet.local}: each that is put around takes one off.",
        )
    whose = f"what {sender.name} sends" if sender else f"a packet from {packet.remote}"
    return Finding(
        summary=f"{tunnel.name} may not encapsulate {whose} to {packet.local}: its encapsulation "
        "limit is 0.",
        evidence=(
            describe_packet(packet),
            describe_tunnel(tunnel),
            *([describe_tunnel(sender)] if sender else []),
            describe_death(case.drop),
        ),
        fix=(fix,),
        path=(case.iif or tunnel.name, str(case.drop.place)),
        tunnel=tunnel.name,
    )
