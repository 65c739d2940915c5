# SPDX-License-Identifier: GPL-2.0-only
"""Junos OS (CLI Reference: tunnel, key, mtu, oam); it has neither GRE checksums nor numbers."""

from gretrace.model import Change
from gretrace.render.peers.vendor import Row, Vendor

_UNIT = "interfaces TUNNEL unit UNIT"

JUNOS = Vendor(
    title="Junos",
    kinds={"gre": "gr"},
    rows={
        Change.KEY: Row((f"set {_UNIT} tunnel key {{value}}",), sets_both_ways=True),
        Change.NO_KEY: Row((f"delete {_UNIT} tunnel key",), sets_both_ways=True),
        Change.SOURCE: Row((f"set {_UNIT} tunnel source {{value}}",)),
        Change.DESTINATION: Row((f"set {_UNIT} tunnel destination {{value}}",)),
        Change.MTU: Row((f"set {_UNIT} family inet mtu {{value}}",)),
        Change.MTU_IPV6: Row((f"set {_UNIT} family inet6 mtu {{value}}",)),
        Change.NO_KEEPALIVES: Row(("delete protocols oam gre-tunnel interface TUNNEL.UNIT",)),
        Change.NO_TUNNEL: Row((f"delete {_UNIT}",)),
    },
)
