# SPDX-License-Identifier: GPL-2.0-only
"""Whether TCP that is forwarded through a tunnel announces segments that fit it."""

from collections.abc import Iterator

from gretrace.checks.registry import Check, Machine, State, check
from gretrace.kernel.kinds import kind_of, largest_segment
from gretrace.kernel.segments import directions
from gretrace.kernel.settings import forwards
from gretrace.model import Tunnel
from gretrace.verdicts.words import clamp_segments

MOSTLY = 16  # times as many packets come as go


@check("TCP segments")
def tcp_segments(machine: Machine) -> Iterator[Check]:
    """A path that hides ICMP hangs TCP whose segments nobody clamps, whatever the MTU is."""
    for tunnel in machine.table.tables.tunnels:
        if tunnel.fallback or tunnel.external or not tunnel.up or kind_of(tunnel).is_ethernet:
            continue
        # What this host sends by itself fits its own device.
        if tunnel.mtu and forwards(machine.host.sysctl, tunnel.name, 4):
            yield _look(machine, tunnel)


def _look(machine: Machine, tunnel: Tunnel) -> Check:
    name, size = f"TCP through {tunnel.name}", largest_segment(tunnel.mtu, 4)
    ruleset = machine.host.firewall()
    if ruleset.unread:
        found = f"whether segments are clamped cannot be told {ruleset.unread}"
        return Check(name, State.ABSENT, found)
    aside = _answers_leave_by(machine, tunnel)
    ways = directions(ruleset, tunnel.name, aside)
    # The route of what leaves beside the tunnel knows nothing of the tunnel's MTU.
    missing = [
        way.words
        for way in ways
        if not way.serves(size, trusts_route=aside is None or way is not ways[-1])
    ]
    if not missing:
        return Check(name, State.OK, f"segments are clamped to {size} bytes, each way")
    found = f"segments are not clamped to {size} bytes in {' and in '.join(missing)}: it hangs "
    found += "where the path hides ICMP"
    netns = machine.table.namespace.reached
    # One rule for all of them: by the route where that knows, else by its size.
    remedy = clamp_segments(netns, size if aside else None)
    return Check(name, State.ABSENT, found, remedy)


def _answers_leave_by(machine: Machine, tunnel: Tunnel) -> str | None:
    """Return the device by which answers leave, where none go back into the tunnel."""
    traffic = machine.table.traffic(tunnel.ifindex)
    if traffic is None or not traffic.received or tunnel.remote is None:
        return None
    # IPv6 greets its neighbours by any device.
    if traffic.sent * MOSTLY > traffic.received:
        return None
    return machine.host.route(tunnel.remote).name
