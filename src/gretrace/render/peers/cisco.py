# SPDX-License-Identifier: GPL-2.0-only
"""Cisco IOS and IOS XE (Interface and Hardware Component Command Reference)."""

from gretrace.model import Change
from gretrace.render.peers.vendor import Row, Vendor


def _on_tunnel(line: str, *, both: bool = False) -> Row:
    return Row(("interface TUNNEL", f" {line}"), sets_both_ways=both)


CISCO = Vendor(
    title="Cisco IOS",
    kinds={"gre": "gre", "ip6gre": "gre"},
    rows={
        Change.KEY: _on_tunnel("tunnel key {value}", both=True),
        Change.NO_KEY: _on_tunnel("no tunnel key", both=True),
        Change.CHECKSUM: _on_tunnel("tunnel checksum", both=True),
        Change.NO_CHECKSUM: _on_tunnel("no tunnel checksum", both=True),
        Change.SEQUENCE: _on_tunnel("tunnel sequence-datagrams", both=True),
        Change.SOURCE: _on_tunnel("tunnel source {value}"),
        Change.DESTINATION: _on_tunnel("tunnel destination {value}"),
        Change.MTU: _on_tunnel("ip mtu {value}"),
        Change.MTU_IPV6: _on_tunnel("ipv6 mtu {value}"),
        Change.MODE: Row(("interface TUNNEL", " tunnel mode gre ip"), kinds=("gre",)),
        Change.NO_KEEPALIVES: _on_tunnel("no keepalive"),
        Change.NO_CDP: _on_tunnel("no cdp enable"),
        Change.NO_TUNNEL: Row(("no interface TUNNEL",)),
    },
)
