# SPDX-License-Identifier: GPL-2.0-only
"""Linux with iproute2, which fetches what is not said of a tunnel that it changes (ip-link(8))."""

from gretrace.kernel.kinds import KINDS
from gretrace.model import Change
from gretrace.render.peers.vendor import Row, Vendor


def _change(what: str) -> Row:
    return Row(("ip link change dev TUNNEL type {kind} " + what,))


_MTU = Row(("ip link set dev TUNNEL mtu {value}",))

LINUX = Vendor(
    title="Linux",
    kinds={kind: kind for kind in KINDS},
    rows={
        Change.KEY: _change("okey {value}"),
        Change.NO_KEY: _change("nookey"),
        Change.CHECKSUM: _change("ocsum"),
        Change.NO_CHECKSUM: _change("noocsum"),
        Change.SEQUENCE: _change("oseq"),
        Change.SOURCE: _change("local {value}"),
        Change.DESTINATION: _change("remote {value}"),
        Change.MTU: _MTU,
        Change.MTU_IPV6: _MTU,
        Change.TOS: Row(
            ("ip link change dev TUNNEL type {kind} tos inherit",),
            kinds=tuple(name for name, kind in KINDS.items() if kind.family == 4),
        ),
        Change.NO_TUNNEL: Row(("ip link del dev TUNNEL",)),
    },
)
