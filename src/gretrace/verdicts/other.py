# SPDX-License-Identifier: GPL-2.0-only
"""What no other cause recognises."""

from gretrace.model import Finding, Fix, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_packet
from gretrace.wire.keys import show_key


@cause(
    "other",
    "the kernel's own function and reason, where gretrace knows no better",
    last_resort=True,
)
def other(case: Case) -> Finding:
    """Say where the packet died, and no more than that."""
    drop, packet = case.drop, case.packet
    device = case.iif or "a device that is gone"
    if packet is None:
        subject = f"A packet on {device} that is not IP"
    elif packet.gre and not drop.on_tunnel:
        subject = (
            f"A GRE packet from {packet.remote} to {packet.local} with {show_key(packet.gre.key)}"
        )
    elif drop.on_tunnel:
        subject = f"A packet of {device}, {packet.remote} > {packet.local},"
    else:
        subject = f"A broken GRE packet from {packet.remote} to {packet.local}"
    reason = f" ({drop.reason})" if drop.reason else ""
    evidence = [describe_packet(packet)] if packet else []
    return Finding(
        summary=f"{subject} was freed by the kernel in {drop.place}{reason}.",
        evidence=(*evidence, "gretrace knows no more about this place."),
        fix=(
            Fix(
                Where.HERE,
                f"See what counts up with each drop (nstat -a; ip -s -s link), and what "
                f"{drop.place.function} of this kernel checks.",
            ),
        ),
        path=(device, str(drop.place)),
        tunnel=case.iif if drop.on_tunnel else _refusing_tunnel(case),
    )


def _refusing_tunnel(case: Case) -> str | None:
    """Name the tunnel that was chosen and then refused the packet."""
    return case.chosen.name if case.is_refused and case.chosen else None
