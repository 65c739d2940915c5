# SPDX-License-Identifier: GPL-2.0-only
"""What a fallback device took and nobody dropped: to the kernel no drop, to the user one."""

from collections.abc import Iterator, Mapping
from time import time_ns

from gretrace.host.tunnels import TunnelTable
from gretrace.model import Drop, Place, Tunnel, Verdict
from gretrace.verdicts.elsewhere import taken_by_fallback

# Where it was chosen, for want of a tunnel that fits.
CHOICE = {4: Place("ip_tunnel_lookup", "ip_tunnel"), 6: Place("ip6gre_tunnel_lookup", "ip6_gre")}


def find_swallowed(
    table: TunnelTable, counted: Mapping[tuple[int, int], int]
) -> Iterator[tuple[Drop, Verdict, Tunnel]]:
    """Yield what each fallback device has received since gretrace watches, beside what it dropped.

    `counted` are the packets that were told of already, by namespace and device.
    """
    for tunnel in table.tables.tunnels:
        if not tunnel.fallback or not tunnel.up:
            continue
        traffic = table.traffic(tunnel.ifindex)
        known = counted.get((tunnel.netns, tunnel.ifindex), 0)
        packets = traffic.received_while_watching - known if traffic else 0
        if packets <= 0:
            continue
        now = time_ns()
        drop = Drop(
            place=CHOICE[6 if tunnel.kind.startswith("ip6") else 4],
            reason=None,
            netns=tunnel.netns,
            ifindex=tunnel.ifindex,
            on_tunnel=True,
            packet=None,
            count=packets,
            first_ns=now,
            last_ns=now,
        )
        finding = taken_by_fallback(tunnel, packets, table.tables.tunnels, table.namespace.reached)
        yield drop, Verdict("fallback-taken", finding), tunnel
