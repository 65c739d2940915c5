# SPDX-License-Identifier: GPL-2.0-only
"""MikroTik RouterOS (manual, GRE); it has neither keys nor checksums nor numbers."""

from gretrace.model import Change
from gretrace.render.peers.vendor import Row, Vendor


def _set(what: str) -> Row:
    return Row((f"/interface {{kind}} set TUNNEL {what}",))


ROUTEROS = Vendor(
    title="RouterOS",
    kinds={"gre": "gre", "ip6gre": "gre6"},
    rows={
        Change.SOURCE: _set("local-address={value}"),
        Change.DESTINATION: _set("remote-address={value}"),
        Change.MTU: _set("mtu={value}"),
        Change.MTU_IPV6: _set("mtu={value}"),
        Change.NO_KEEPALIVES: _set("!keepalive"),
        Change.NO_TUNNEL: Row(("/interface {kind} remove TUNNEL",)),
    },
)
