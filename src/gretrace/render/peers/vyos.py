# SPDX-License-Identifier: GPL-2.0-only
"""VyOS 1.3 and newer (documentation, Tunnel); it has neither GRE checksums nor numbers."""

from gretrace.model import Change
from gretrace.render.peers.vendor import Row, Vendor

_TUNNEL = "interfaces tunnel TUNNEL"
# Whether another kind has a key depends on the release.
_KEYED = ("gre",)

VYOS = Vendor(
    title="VyOS",
    kinds={kind: kind for kind in ("gre", "gretap", "ip6gre", "ip6gretap")},
    rows={
        Change.KEY: Row((f"set {_TUNNEL} parameters ip key {{value}}",), True, _KEYED),
        Change.NO_KEY: Row((f"delete {_TUNNEL} parameters ip key",), True, _KEYED),
        Change.SOURCE: Row((f"set {_TUNNEL} source-address {{value}}",)),
        Change.DESTINATION: Row((f"set {_TUNNEL} remote {{value}}",)),
        Change.MTU: Row((f"set {_TUNNEL} mtu {{value}}",)),
        Change.MTU_IPV6: Row((f"set {_TUNNEL} mtu {{value}}",)),
        Change.TOS: Row((f"delete {_TUNNEL} parameters ip tos",), kinds=("gre",)),
        Change.NO_TUNNEL: Row((f"delete {_TUNNEL}",)),
    },
)
